"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """The folder of recorded market data; skips where it is absent."""
    folder = Path(os.environ.get("NJORD_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "README.md").exists():
        pytest.skip(f"recorded market data not found in {folder}; set NJORD_TEST_DATA")
    return folder
