"""The command ``njord-ctl diff``: the comparison of two runs, every difference by class and its cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from controller.options import AsJson, Root
from controller.terminal import Exit, fail, print_json, print_passing

if TYPE_CHECKING:
    from backtest.parity.compare import EventLog
    from backtest.parity.session_config import SessionConfig
    from core.config.model import Config

SHOWN = 20  # differences, unless told otherwise


def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="A session's folder or a backtest's result_….json.")],
    b: Annotated[Path | None, typer.Argument(metavar="[B]", help="Another one.", show_default=False)] = None,
    backtest: Annotated[bool, typer.Option("--backtest", help="Replay session A and compare with that.")] = False,
    engine: Annotated[bool, typer.Option("--engine", help="Run it through the backtester's engine instead.")] = False,
    today: Annotated[
        bool, typer.Option("--today", help="Under the configuration of --config-root, not the one recorded with A.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Differences shown; 0 is all.")] = SHOWN,
    tolerance: Annotated[
        float, typer.Option(min=0.0, max=86_400.0, help="Seconds that the same intent may lie apart without its id.")
    ] = 2.0,
    root: Root = Path(),
    as_json: AsJson = False,
) -> None:
    """Compare two runs: intents, decisions, fills, fees, and profit and loss to the last decimal.

    A session is the folder of a run (var/runs/…) or an installation's var. Each difference is one of signal, decision,
    timing, fill and fee, and the difference in money is split by these, mark-to-market aside. Exits with 4 when there
    is any. Sessions are only read; a replay runs under the configuration that the session wrote down when it started,
    or with --today, and where there is none, under that of --config-root.
    """
    from backtest.parity.compare import compare, read_event_log
    from controller.diff.formatting import print_comparison
    from core.clock import NS_PER_S
    from core.config import load_config

    if [b is not None, backtest, engine].count(True) != 1:
        fail(Exit.USAGE, "expected one of: a second run B, --backtest, --engine")
    if today and b is not None:
        fail(Exit.USAGE, "--today says what A is run again under; expected --backtest or --engine with it")
    for path in (a, b):
        if path is not None and not path.exists():
            fail(Exit.USAGE, f"no such run: {path}; `make run` writes them below var/runs")
    if b is None and not a.is_dir():
        fail(Exit.USAGE, f"{a}: expected the folder of a session, whose market data can be run again")
    config = load_config(root)
    with _reading(a):
        own = _own(a, config, read=not today)
        first = read_event_log(a, own.config)
    if b is None:
        with _reading(a, "replaying"):
            second = _again(a, own.config, engine=engine)
        notes = _on_replay(own, config) if not today else _on_today(_own(a, config), config)
    else:
        with _reading(b):
            other = _own(b, config)
            second = read_event_log(b, other.config)
        notes = _on_two(own, other)
        notes += _on_rules(("A", own, first), ("B", other, second))
        first, second = _common(first, second), _common(second, first)
    comparison = compare(first, second, tolerance_ns=round(tolerance * NS_PER_S))
    if as_json:
        print_json(replace(comparison, remarks=(*notes, *comparison.remarks)).to_dict())
    else:
        print_comparison(comparison, limit, notes)
    if not comparison.equal:
        raise typer.Exit(Exit.BAD)


def _own(run: Path, today: Config, *, read: bool = True) -> SessionConfig:
    """The configuration of a session; for a result on file, which contains its own, today's configuration."""
    from backtest.parity.session_config import SessionConfig, session_config

    return session_config(run, today) if read and run.is_dir() else SessionConfig(today, 0)


def _on_replay(own: SessionConfig, today: Config) -> list[str]:
    from backtest.parity.session_config import changes_text

    notes = [f"A: {remark}" for remark in own.remarks]
    if own.recorded and (differing := changes_text(own.config, today)):
        notes.append(f"B ran under A's own configuration; that of --config-root differs in {differing}")
    return notes


def _on_today(own: SessionConfig, today: Config) -> list[str]:
    from backtest.parity.session_config import changes_text

    if own.recorded and (differing := changes_text(own.config, today)):
        return [f"B ran under the configuration of --config-root, which differs from A's in {differing}"]
    return []


def _on_two(a: SessionConfig, b: SessionConfig) -> list[str]:
    from backtest.parity.session_config import changes_text

    notes = [f"{name}: {remark}" for name, run in (("A", a), ("B", b)) if run.recorded for remark in run.remarks]
    if a.recorded and b.recorded and (differing := changes_text(a.config, b.config)):
        notes.append(f"A and B ran under configurations that differ in {differing}")
    return notes


def _on_rules(*runs: tuple[str, SessionConfig, EventLog]) -> Iterator[str]:
    """The differences between a backtest's rules and those of the session beside it."""
    from backtest.parity.session_config import rules_text

    for (_, own, session), (name, _, result) in (runs, runs[::-1]):
        if session.rules is None and result.rules is not None and (differing := rules_text(own.config, result.rules)):
            yield f"{name}'s rules differ from the session's configuration in {differing}"


def _common(run: EventLog, other: EventLog) -> EventLog:
    """A session beside a backtest counts as far as the strategy goes that was tested."""
    from backtest.parity.event_log import only_of

    if run.rules is not None or other.rules is None:
        return run
    return only_of(
        run, frozenset([other.rules.strategy_id, *(history.intent.strategy_id for history in other.histories)])
    )


def _again(session: Path, config: Config, *, engine: bool) -> EventLog:
    """The session's data through the fleet's components, or through the event engine."""
    if engine:
        from backtest.parity.engine import engine_event_log

        return engine_event_log(session, config)
    from backtest.parity.session_replay import replay_session

    with TemporaryDirectory(prefix="njord-replay-") as folder:
        return replay_session(session, config, Path(folder)).event_log()


@contextmanager
def _reading(path: Path, doing: str = "reading") -> Iterator[None]:
    print_passing(f"{doing} {path} …")
    try:
        yield
    finally:
        print_passing()
