"""Hundreds of kills on real processes: ``python -m scripts.torture --kills 200 [--seed N] [--minutes M]``.

Plans are drawn from the seed: the same seed, the same kills in the same order. When they hit is up to the machine,
so that two runs of one seed are not the same run. Exit status: 0 all is well, 1 something was lost or done twice.
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

from tests.support.kill_plan import Plan, plan
from tests.support.kill_report import line_of, tables
from tests.support.kill_session import Feed, KillSession, Outcome, Struck

PER_SESSION = 7
SPEEDS = ("10x", "15x", "20x")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sessions and print what became of them."""
    parser = argparse.ArgumentParser(prog="python -m scripts.torture", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--kills", type=int, default=200, help="how many processes end by SIGKILL  [200]")
    parser.add_argument("--seed", type=int, help="of the plans  [another one each time]")
    parser.add_argument("--minutes", type=float, default=0, help="go on so long instead of counting kills")
    parser.add_argument("--session", type=int, help="only this session of the plan")
    parser.add_argument("--feed", help="recordings instead of a synthetic market, separated by commas")
    parser.add_argument("--keep", type=Path, help="where the files of failed sessions are left")
    asked = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the fleet it runs ends with it
    seed = secrets.randbelow(1_000_000) if asked.seed is None else asked.seed
    print(f"seed {seed}", flush=True)
    outcomes: list[Outcome] = []
    try:
        for each in _plans(seed, asked.kills, asked.minutes, asked.session):
            outcomes.append(_suffer(each, asked.feed, asked.keep))  # noqa: PERF401 — what was done counts when it is ended
    except KeyboardInterrupt:
        print("ended before its time")
    print(f"\n{tables(outcomes)}")
    return _verdict(outcomes, asked.feed)


def _plans(seed: int, kills: int, minutes: float, session: int | None) -> Iterator[Plan]:
    if session is not None:
        yield plan(seed, session, PER_SESSION)
        return
    end, number, left = time.monotonic() + 60 * minutes, 0, kills
    while time.monotonic() < end if minutes else left > 0:
        number += 1
        yield plan(seed, number, PER_SESSION)
        left -= PER_SESSION


def _suffer(plan: Plan, recordings: str | None, keep: Path | None) -> Outcome:
    def told(struck: Struck) -> None:
        print(line_of(plan.number, struck), flush=True)

    folder = Path(tempfile.mkdtemp(prefix=f"njord-torture-{plan.seed}-{plan.number}-"))
    source = recordings or f"synthetic:{plan.seed + plan.number}:600"
    speed = "4x" if recordings else SPEEDS[plan.number % len(SPEEDS)]
    print(f"session {plan.number}: {source} at {speed}, appendfsync {plan.sync}", flush=True)
    outcome = KillSession(plan, folder, Feed(source, speed), told=told).run()
    for text in outcome.violations:
        print(f"VIOLATION in session {plan.number}: {text}", flush=True)
    if outcome.violations and keep is not None:
        print(f"its files are in {folder.rename(keep / folder.name) if keep.is_dir() else folder}")
    else:
        rmtree(folder)
    return outcome


def _verdict(outcomes: Sequence[Outcome], recordings: str | None) -> int:
    failed = [outcome.plan for outcome in outcomes if outcome.violations]
    for each in failed:
        feed = f" --feed {recordings}" if recordings else ""
        print(f"again: python -m scripts.torture --seed {each.seed} --session {each.number}{feed}")
    return 1 if failed else 0


if __name__ == "__main__":
    from core.console import adapt_console

    adapt_console()
    sys.exit(main())
