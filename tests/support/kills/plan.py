"""A seeded plan of what is done to a running fleet: who is killed, frozen or emptied, and at which moment.

The same seed gives the same plan. It does not give the same run: where a process stands when the signal arrives is
up to the operating system, and a plan that found a fault may have to be repeated to find it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

from core.daemons import FEED, LEDGERED
from core.service import crash_points
from tests.support.processes import DAEMONS

UPSTREAM: Final = {  # whose ledgers are watched, to strike while something said there is under way to the target
    "strategy_runner": ("risk_engine", "paper_trader"),
    "risk_engine": ("strategy_runner", "paper_trader"),
    "paper_trader": ("strategy_runner", "risk_engine"),
}


class Kind(StrEnum):
    """What is done. ``DEADLY`` ones end a process by SIGKILL."""

    KILL = "kill"  # a daemon
    CRASH = "crash point"  # a daemon, at a named place between two of its effects
    SERVER = "server"
    SERVER_FORGETS = "server forgets"  # what it had written to its file in the last second is gone too
    BOTH = "daemon and server"
    ALL = "everything"  # every daemon at once
    FREEZE = "freeze"  # SIGSTOP, then SIGCONT
    FREEZE_SERVER = "server freezes"
    EMPTY = "server emptied"
    TWIN = "twin"  # a second copy on the same folder, while the first is frozen


DEADLY: Final = (Kind.KILL, Kind.CRASH, Kind.SERVER, Kind.SERVER_FORGETS, Kind.BOTH, Kind.ALL)
GENTLE: Final = (Kind.FREEZE, Kind.FREEZE_SERVER, Kind.EMPTY, Kind.TWIN)
_WEIGHTS: Final = {
    Kind.KILL: 9, Kind.CRASH: 5, Kind.SERVER: 2, Kind.SERVER_FORGETS: 2, Kind.BOTH: 2, Kind.ALL: 1,
    Kind.FREEZE: 2, Kind.FREEZE_SERVER: 1, Kind.EMPTY: 2, Kind.TWIN: 1,
}  # fmt: skip

_AWAY_S: Final = {  # how long the server is away, or how much it forgets; daemons give up waiting after a second
    Kind.SERVER: (0.0, 0.6), Kind.SERVER_FORGETS: (0.1, 1.0), Kind.FREEZE_SERVER: (0.3, 1.5), Kind.EMPTY: (0.0, 0.0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Strike:
    """One thing done to the fleet.

    ``pause_s`` after the fleet got over the last one; with ``hunted`` it then waits for the upstream ledger of the
    target to grow, so that it hits work under way. ``down_s`` is how long the victim stays away. ``point`` and
    ``passing`` say where a crash point strikes.
    """

    kind: Kind
    target: str
    pause_s: float
    hunted: bool = False
    down_s: float = 0.0
    point: str = ""
    passing: int = 1

    @property
    def deadly(self) -> bool:
        """Whether a process ends by SIGKILL."""
        return self.kind in DEADLY

    def __str__(self) -> str:
        at = f" at {self.point}:{self.passing}" if self.point else " on work under way" if self.hunted else ""
        away = f", away {self.down_s:.2f} s" if self.down_s else ""
        return f"{self.kind} {self.target}{at}{away}, {self.pause_s:.2f} s after the last"


@dataclass(frozen=True, slots=True)
class Plan:
    """What one session suffers; ``sync`` is the server's appendfsync."""

    seed: int
    number: int
    sync: str
    strikes: tuple[Strike, ...]

    @property
    def kills(self) -> int:
        """How many strikes end a process by SIGKILL."""
        return sum(strike.deadly for strike in self.strikes)


def plan(seed: int, number: int, kills: int) -> Plan:
    """The plan of the session of that number: so many kills, and milder things between them."""
    random = Random(f"{seed}:{number}")
    strikes: list[Strike] = []
    while sum(strike.deadly for strike in strikes) < kills:
        strikes.append(_strike(random, random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]))
    return Plan(seed, number, random.choice(("always", "everysec")), tuple(strikes))


def plans(seed: int, kills: int, per_session: int = 7) -> list[Plan]:
    """Sessions with so many kills together."""
    full, rest = divmod(kills, per_session)
    return [plan(seed, number, per_session) for number in range(1, full + 1)] + (
        [plan(seed, full + 1, rest)] if rest else []
    )


def crashes(seed: int, daemon: str, points: Sequence[str] = crash_points.POINTS) -> Plan:
    """One crash of a daemon at each point, at a seeded passing under load."""
    random = Random(f"{seed}:{daemon}")
    strikes = tuple(
        Strike(Kind.CRASH, daemon, 0.0, point=point, passing=random.randint(1, 12))
        for point in random.sample(points, len(points))
    )
    return Plan(seed, 0, "always", strikes)


def _strike(random: Random, kind: Kind) -> Strike:
    pause = random.uniform(0.05, 0.6)
    if kind in _AWAY_S:
        hunted = random.random() < 0.5
        return Strike(kind, "server", pause, hunted, random.uniform(*_AWAY_S[kind]))
    if kind is Kind.ALL:
        return Strike(kind, "fleet", pause, random.random() < 0.5)
    if kind is Kind.CRASH:
        point = random.choice(crash_points.POINTS)
        return Strike(kind, random.choice(LEDGERED), pause, point=point, passing=random.randint(1, 40))
    if kind is Kind.TWIN:
        return Strike(kind, random.choice(LEDGERED), pause, down_s=0.1)
    target = random.choice((*DAEMONS, *LEDGERED, FEED))
    down = random.uniform(0.1, 0.8) if kind is Kind.FREEZE else random.choice((0.0, random.uniform(0.0, 0.5)))
    return Strike(kind, target, pause, random.random() < 0.6, down)
