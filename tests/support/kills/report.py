"""The report of a run of kill sessions: a line for each strike, tables of kills by kind and of recovery times."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from tests.support.kills.session import EVERYONE, Outcome, Struck


def line_of(session: int, struck: Struck) -> str:
    """One strike: when, what, whom, where, and what was back after how many milliseconds."""
    back = ", ".join(f"{name} in {ms:.0f} ms" for name, ms in struck.recovered_ms)
    return f"session {session:<3} {struck.at_s:7.2f} s  {struck.strike}" + (f"; back: {back}" if back else "")


def tables(outcomes: Sequence[Outcome]) -> str:
    """Strikes by kind, recovery times by daemon, and the sums."""
    struck = [hit for outcome in outcomes for hit in outcome.struck]
    return "\n".join([*_kinds(struck), "", *_recoveries(struck), "", *_sums(outcomes, struck)])


def share_under_way(struck: Iterable[Struck]) -> float:
    """Which part of the kills hit a moment with messages under way."""
    deadly = [hit for hit in struck if hit.strike.deadly]
    return sum(hit.unsettled > 0 for hit in deadly) / len(deadly) if deadly else 0.0


def _kinds(struck: Sequence[Struck]) -> list[str]:
    by_kind: defaultdict[str, list[Struck]] = defaultdict(list)
    for hit in struck:
        point = f" {hit.strike.point}" if hit.strike.point else ""
        by_kind[f"{hit.strike.kind}{point}"].append(hit)
    return [f"{'what was done':<30} {'times':>5} {'with messages under way':>24}"] + [
        f"{kind:<30} {len(several):>5} {sum(hit.unsettled > 0 for hit in several):>24}"
        for kind, several in sorted(by_kind.items())
    ]


def _recoveries(struck: Sequence[Struck]) -> list[str]:
    times: defaultdict[str, list[float]] = defaultdict(list)
    for hit in struck:
        if hit.strike.deadly:
            for name, ms in hit.recovered_ms:
                times[name].append(ms)
    return [f"{'from exec to ready, ms':<30} {'times':>5} {'min':>7} {'median':>7} {'max':>7}"] + [
        f"{name:<30} {len(took):>5} {min(took):>7.0f} {median(took):>7.0f} {max(took):>7.0f}"
        for name in EVERYONE
        if (took := times[name])
    ]


def _sums(outcomes: Sequence[Outcome], struck: Sequence[Struck]) -> list[str]:
    kills = sum(outcome.kills for outcome in outcomes)
    return [
        f"{kills} kills in {len(outcomes)} sessions, {share_under_way(struck):.0%} of them with messages under way; "
        f"{len(struck) - kills} other strikes",
        f"{sum(outcome.transactions for outcome in outcomes)} transactions in {sum(o.wall_s for o in outcomes):.0f} s, "
        f"{sum(len(outcome.violations) for outcome in outcomes)} violations",
    ]
