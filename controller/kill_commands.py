"""``njord-ctl kill``: stop all trading, let it go on, see whether it is stopped and by what."""

from __future__ import annotations

import typer

kill = typer.Typer(help="The kill switch.", no_args_is_help=True)
