"""The options that several commands share, so that they are spelt and explained alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, for scripts.")]
Root = Annotated[Path, typer.Option("--config-root", "--root", help="The project's folder, which holds config/.")]
