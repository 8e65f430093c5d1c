"""The options that several commands share, so that they are spelt and explained alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, for scripts.")]
ConfigFile = Annotated[Path, typer.Option("--config", help="The configuration's main file.")]

CONFIG: Final = Path("config/base.yaml")
