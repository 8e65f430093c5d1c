"""The network between the daemons and the bus server: seeded latencies, and the faults that are in force now."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final, Protocol

FAULTLESS: Final = 0.0
_BASE_S: Final = 0.000_1  # one way, at least
_SPREAD_S: Final = 0.000_6
_SLOW_SHARE: Final = 0.02  # of the messages take long, on any network
_SLOW_S: Final = 0.02
RESET_S: Final = 0.002  # until a lost connection is noticed


@dataclass
class Weather:
    """Shares of what goes wrong, from 0 to 1; all 0 in good weather."""

    drop: float = FAULTLESS  # a broadcast never arrives
    duplicate: float = FAULTLESS  # a broadcast arrives twice
    delay: float = FAULTLESS  # a broadcast, and everything behind it on its connection, arrives late
    reorder: float = FAULTLESS  # a broadcast is overtaken by those behind it
    redeliver: float = FAULTLESS  # a read begins before the place asked for
    lose_question: float = FAULTLESS  # the connection is lost before a command takes effect
    lose_answer: float = FAULTLESS  # the connection is lost after a command took effect


class Connected(Protocol):
    """One process's connections."""

    def cut(self) -> None:
        """Lose them all."""
        ...

    def stall(self) -> None:
        """Nothing is answered from now on."""
        ...


@dataclass
class Network:
    """The network and the server's reachability.

    Attributes:
        random: draws everything that the network decides.
        weather: the shares of what goes wrong now.
        counts: how often each fault of the weather happened.
        links: who is connected.
        down: nobody answers, connections are refused.
        frozen: the server is stopped: what is sent to it waits, and is executed once it goes on.
        backlog: what waits for that.
    """

    random: Random
    weather: Weather = field(default_factory=Weather)
    counts: Counter[str] = field(default_factory=Counter)
    links: dict[Connected, None] = field(default_factory=dict)
    down: bool = False
    frozen: bool = False
    backlog: deque[Callable[[], None]] = field(default_factory=deque)

    def go_down(self) -> None:
        """Every connection is lost, and new ones are refused."""
        self.down = True
        self.frozen = False
        self.backlog.clear()
        for link in list(self.links):
            link.cut()

    def come_up(self) -> None:
        """Connections are taken again."""
        self.down = False

    def freeze(self) -> None:
        """The server stops in the middle of what it does (SIGSTOP)."""
        self.frozen = True
        for link in self.links:
            link.stall()

    def thaw(self) -> None:
        """It goes on with what was sent meanwhile."""
        self.frozen = False
        while self.backlog:
            self.backlog.popleft()()

    def latency_s(self) -> float:
        """The time that one way takes this time, in seconds."""
        draw = self.random.random()
        if draw < _SLOW_SHARE:
            return _SLOW_S * (0.2 + draw / _SLOW_SHARE)
        return _BASE_S + _SPREAD_S * draw

    def befalls(self, fault: str) -> bool:
        """Whether a fault of the weather happens now; counted when it does."""
        share: float = getattr(self.weather, fault)
        if share and self.random.random() < share:
            self.counts[fault] += 1
            return True
        return False
