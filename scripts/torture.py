"""Kill tests on real processes, by the hundred: ``python -m scripts.torture --kills 200 [--seed N] [--minutes M]``.

Plans are drawn from the seed: the same seed gives the same kills in the same order. The machine decides the moment of
each, so that two runs of one seed are not the same run. Exit status: 0 sound, 1 something was lost or done twice.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import rmtree

from tests.support.kills.plan import Plan, plan
from tests.support.kills.report import line_of, tables
from tests.support.kills.session import Feed, KillSession, Outcome, Struck

PER_SESSION = 7
SPEEDS = ("10x", "15x", "20x")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sessions and print their outcomes."""
    parser = argparse.ArgumentParser(prog="python -m scripts.torture", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--kills", type=int, default=200, help="how many processes end by SIGKILL  [200]")
    parser.add_argument("--seed", type=int, help="of the plans  [another one each time]")
    parser.add_argument("--minutes", type=float, default=0, help="go on so long instead of counting kills")
    parser.add_argument("--session", type=int, help="only this session of the plan")
    parser.add_argument("--feed", help="recordings instead of a synthetic market, separated by commas")
    parser.add_argument("--keep", type=Path, help="where the files of failed sessions are left")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the fleet it runs ends with it
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    outcomes: list[Outcome] = []
    try:
        for session_plan in _plans(seed, arguments.kills, arguments.minutes, arguments.session):
            outcomes.append(_run_session(session_plan, arguments.feed, arguments.keep))  # noqa: PERF401 — an interrupted run reports the sessions before
    except KeyboardInterrupt:
        print("interrupted")
    print(f"\n{tables(outcomes)}")
    return _verdict(outcomes, arguments.feed)


def _plans(seed: int, kills: int, minutes: float, session: int | None) -> Iterator[Plan]:
    if session is not None:
        yield plan(seed, session, PER_SESSION)
        return
    end, number, remaining = time.monotonic() + 60 * minutes, 0, kills
    while time.monotonic() < end if minutes else remaining > 0:
        number += 1
        yield plan(seed, number, PER_SESSION)
        remaining -= PER_SESSION


def _run_session(plan: Plan, recordings: str | None, keep: Path | None) -> Outcome:
    def report(struck: Struck) -> None:
        print(line_of(plan.number, struck), flush=True)

    folder = Path(tempfile.mkdtemp(prefix=f"njord-torture-{plan.seed}-{plan.number}-"))
    source = recordings or f"synthetic:{plan.seed + plan.number}:600"
    speed = "4x" if recordings else SPEEDS[plan.number % len(SPEEDS)]
    print(f"session {plan.number}: {source} at {speed}, appendfsync {plan.sync}", flush=True)
    outcome = KillSession(plan, folder, Feed(source, speed), on_strike=report).run()
    for text in outcome.violations:
        print(f"VIOLATION in session {plan.number}: {text}", flush=True)
    if outcome.violations and keep is not None:
        print(f"its files are in {folder.rename(keep / folder.name) if keep.is_dir() else folder}")
    else:
        rmtree(folder)
    return outcome


def _verdict(outcomes: Sequence[Outcome], recordings: str | None) -> int:
    failed = [outcome.plan for outcome in outcomes if outcome.violations]
    for failed_plan in failed:
        feed = f" --feed {recordings}" if recordings else ""
        print(f"again: python -m scripts.torture --seed {failed_plan.seed} --session {failed_plan.number}{feed}")
    return 1 if failed else 0


if __name__ == "__main__":
    from core.console import adapt_console

    adapt_console()
    sys.exit(main())
