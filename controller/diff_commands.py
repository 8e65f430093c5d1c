"""``njord-ctl diff``: two runs held against each other, every difference by class and what it cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from controller.options import AsJson, Root
from controller.terminal import Exit, fail, print_json, print_passing

if TYPE_CHECKING:
    from backtest.parity import Trail
    from core.config_model import Config

SHOWN = 20  # differences, unless told otherwise


def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="A session's folder or a backtest's result_….json.")],
    b: Annotated[Path | None, typer.Argument(metavar="[B]", help="Another one.", show_default=False)] = None,
    backtest: Annotated[bool, typer.Option("--backtest", help="Replay session A and compare with that.")] = False,
    engine: Annotated[bool, typer.Option("--engine", help="Run its trades through the event engine instead.")] = False,
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
    is any. Sessions are only read; a replay runs under the configuration of --config-root.
    """
    from backtest.parity import compare, read_trail
    from controller.diff_words import print_comparison
    from core.clock import NS_PER_S
    from core.config import load_config

    if [b is not None, backtest, engine].count(True) != 1:
        fail(Exit.USAGE, "expected one of: a second run B, --backtest, --engine")
    for path in (a, b):
        if path is not None and not path.exists():
            fail(Exit.USAGE, f"no such run: {path}; `make run` writes them below var/runs")
    config = load_config(root)
    with _reading(a):
        first = read_trail(a, config)
    with _reading(b or a, "replaying" if b is None else "reading"):
        second = read_trail(b, config) if b is not None else _again(a, config, engine=engine)
    found = compare(first, second, tolerance_ns=round(tolerance * NS_PER_S))
    if as_json:
        print_json(found.to_dict())
    else:
        print_comparison(found, limit)
    if not found.equal:
        raise typer.Exit(Exit.BAD)


def _again(session: Path, config: Config, *, engine: bool) -> Trail:
    """The session's data through the fleet's components, or through the event engine."""
    if not session.is_dir():
        fail(Exit.USAGE, f"{session}: expected the folder of a session, whose market data can be run again")
    if engine:
        from backtest.parity_engine import engine_trail

        return engine_trail(session, config)
    from backtest.session_replay import replay_session

    with TemporaryDirectory(prefix="njord-replay-") as folder:
        return replay_session(session, config, Path(folder)).trail()


@contextmanager
def _reading(path: Path, doing: str = "reading") -> Iterator[None]:
    print_passing(f"{doing} {path} …")
    try:
        yield
    finally:
        print_passing()
