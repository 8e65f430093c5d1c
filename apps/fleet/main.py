"""The command of ``make run``: the paper fleet in one process on a synthetic market, a recording or a venue."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.live import Live

from apps.fleet.feed_health import FeedHealth, in_words
from apps.fleet.session import Session, in_folder, run_session
from apps.fleet.summary import Outcome, as_json, print_outcome
from apps.fleet.tracker import Tracker
from apps.fleet.trust import (
    data_check,
    feed_check,
    gap_check,
    ledger_check,
    order_book_check,
    positions_check,
    repeat_check,
    strategy_check,
)
from apps.fleet.view import Screen, clock
from apps.md_ingest.replay import parse_speed
from apps.md_ingest.source import MarketSource, open_live, open_offline
from core import codec
from core.config import Config
from core.console import write_json
from core.contracts import FeedStatus
from core.errors import ConfigError
from core.service.launch import read_config, run_command, start_logging

NAME: Final = "fleet"
DEFAULT_FEED: Final = "synthetic:42"
WATCHING_SPEED: Final = "600x"  # of a synthetic market that somebody watches
EXIT_FAILED_CHECK: Final = 3
_app: Final = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@_app.command(help="The paper fleet in one process, without Redis.")
def command(
    feed: Annotated[str | None, typer.Option(help="A recording, or synthetic:SEED[:MINUTES]")] = None,
    venue: Annotated[str | None, typer.Option(help="Live market data of a venue, such as binanceus")] = None,
    symbol: Annotated[list[str] | None, typer.Option(help="BASE/QUOTE; repeat it for several")] = None,
    speed: Annotated[str | None, typer.Option(help="Of a feed: 1x, 10x, … or max")] = None,
    no_screen: Annotated[bool, typer.Option("--plain", help="No live screen")] = False,
    json: Annotated[bool, typer.Option("--json", help="The outcome as JSON")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for this run  [default: var/runs/TIME-FEED]")] = None,
    again: Annotated[bool, typer.Option(help="Run the same input a second time and compare")] = True,
    config_root: Annotated[Path, typer.Option(help="Folder that holds config/")] = Path(),
    config: Annotated[Path | None, typer.Option(help="The base.yaml to read instead")] = None,
) -> None:
    """Run one session, then print its outcome."""
    if feed is not None and venue is not None:
        raise ConfigError("--feed and --venue: expected one of them, got both")
    if venue is not None and speed is not None:
        raise ConfigError("--speed: a live venue has its own pace; leave it out, or name a --feed")
    settings = read_config(config_root, config)
    symbols = [name for names in symbol or () for name in names.split(",")]
    console = Console()
    watched = console.is_terminal and not no_screen and not json
    folder = out or settings.data_dir / "runs" / _run_name(feed or venue or DEFAULT_FEED)
    if out is not None and any(out.glob("*/*.ndjson")):
        raise ConfigError(f"--out {out}: expected a folder without journals; name another, so that runs stay apart")
    moved = in_folder(settings, folder)
    start_logging(NAME, moved, stream=False)

    def offline(target: Config, pace: str = "max") -> MarketSource:
        return open_offline(feed or DEFAULT_FEED, target, symbols, speed=parse_speed(pace))

    reopen: Callable[[Config], MarketSource] | None = None
    if venue is not None:
        source = open_live(venue, moved, symbols)
    else:
        source, reopen = offline(moved, speed or (WATCHING_SPEED if watched and feed is None else "max")), offline
    announced = _announce if venue is not None and not watched else lambda _: None
    tracker = Tracker(FeedHealth(announced))
    session = Session(moved, source, tracker.observe)
    _watch(session, tracker, console if watched else None)
    checks = [
        data_check(session),
        gap_check(session),
        *([feed_check(tracker.health)] if venue is not None else []),
        order_book_check(session, tracker),
        strategy_check(session),
        ledger_check(moved),
        positions_check(session),
    ]
    if again and not session.stopped:
        with console.status("running the same input a second time…") if watched else nullcontext():
            checks.append(repeat_check(session, reopen, settings, folder))
    outcome = Outcome(session, tracker, folder, tuple(checks))
    if json:
        write_json(codec.encode_plain(as_json(outcome)).decode())
    else:
        print_outcome(outcome, console)
    if any(check.verdict == "FAIL" for check in checks):
        raise typer.Exit(EXIT_FAILED_CHECK)


def _watch(session: Session, tracker: Tracker, console: Console | None) -> None:
    """Run the session, on a live screen where there is a console for one. Ctrl-C ends it cleanly."""
    live = None
    if console is not None:
        screen = Screen(session, tracker, session.source.feed.name)
        live = Live(screen, console=console, screen=True, auto_refresh=False)
    context: Any = live if live is not None else nullcontext()
    with context:
        run_session(session, live.refresh if live is not None else lambda: None)


def _announce(status: FeedStatus) -> None:
    """Without a screen, a live feed says how it fares while nothing else is printed."""
    hint = "; Ctrl-C ends" if status.state == "connecting" else ""
    print(f"{clock(status.ts_changed_ns)}  {status.venue}  {in_words(status)}{hint}", file=sys.stderr, flush=True)


def _run_name(source: str) -> str:
    kind = "".join(c if c.isalnum() else "-" for c in Path(source.split(",")[0]).name).strip("-")[:40]
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{kind}"


def main() -> int:
    """Run the command."""
    return run_command(_app, NAME)
