"""The folder of recorded market data, which is no part of the repository."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_BESIDE: Final = Path(__file__).resolve().parents[3] / "shared" / "data"


def recordings_folder() -> Path | None:
    """``NJORD_TEST_DATA``, or the folder beside the checkout; None where there is none."""
    folder = Path(os.environ.get("NJORD_TEST_DATA", _BESIDE))
    return folder if (folder / "README.md").exists() else None
