"""Compress journals that are older than a day: for cron or a systemd timer, safe beside running daemons.

Rotated files become ``{stream}.{YYYYMMDD}.ndjson.gz`` with a ``.sha256`` beside them. Market data files
that no process writes any more are rotated first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.codec import encode_plain
from core.console import adapt_console, write_json
from core.errors import NjordError
from core.journal.rotation import compress_closed, corrupt_files, rotate_idle


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of the journals.")] = Path("var/log/njord"),
    older_than_hours: Annotated[float, typer.Option(min=0.0, help="Leave younger files alone.")] = 24.0,
    verify: Annotated[bool, typer.Option("--verify", help="Also check every compressed file's checksum.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON, for scripts.")] = False,
) -> None:
    """Compress the rotated journals of FOLDER. Exit code 0: done; 1: a file is damaged or the disk refused."""
    if not folder.is_dir():
        typer.echo(f"no folder {folder}: expected the journals' folder, by default var/log/njord", err=True)
        raise typer.Exit(1)
    try:
        rotate_idle(folder, older_than_s=older_than_hours * 3600)
        compressed = compress_closed(folder, older_than_s=older_than_hours * 3600)
    except NjordError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    corrupt = corrupt_files(folder) if verify else []
    if as_json:
        write_json(_as_json(compressed, corrupt))
    else:
        print(_as_text(compressed, corrupt))
    if corrupt:
        raise typer.Exit(1)


def _as_json(compressed: list[Path], corrupt: list[Path]) -> str:
    answer = {"compressed": [str(p) for p in compressed], "corrupt": [str(p) for p in corrupt]}
    return encode_plain(answer).decode()


def _as_text(compressed: list[Path], corrupt: list[Path]) -> str:
    lines = [f"compressed {path}" for path in compressed] or ["nothing to compress"]
    lines += [f"damaged {path}: restore it from a backup" for path in corrupt]
    return "\n".join(lines)


if __name__ == "__main__":
    adapt_console()
    typer.run(main)
