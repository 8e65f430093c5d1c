"""The retry policy of the project: exponential backoff with full jitter, capped.

Every loop that tries again (feed, bus, relay, disk, kill switch) takes its delays from here. The caller passes the
randomness in, so that a test knows every delay and a rehearsal repeats itself. Nothing in here sleeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from core.errors import ConfigError

Draw = Callable[[], float]  # a number in ``[0, 1)``, such as ``random.Random(seed).random``
_MAX_DOUBLINGS: Final = 32  # beyond this any cap is reached; keeps the power small


def unspread() -> float:
    """A draw that leaves every delay at its ceiling: for tests, and for what only one process ever waits for."""
    return 0.0


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """Delays in seconds: up to ``initial_s`` after the first failure, twice that after the next, never above ``cap_s``.

    ``jitter`` is the share of each delay that is drawn at random: 1 is full jitter, 0 none.
    ``healthy_after_s``: a connection that lived this long counts as healthy, and the next failure starts anew;
    with 0 only ``reset`` starts anew.

    Raises:
        ConfigError: a delay that is not above 0, a cap below the initial delay, a share outside 0 to 1.
    """

    initial_s: float = 0.5
    cap_s: float = 30.0
    healthy_after_s: float = 60.0
    jitter: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.initial_s <= self.cap_s:
            raise ConfigError(
                f"backoff: expected 0 < initial_s <= cap_s, got initial_s={self.initial_s} cap_s={self.cap_s}"
            )
        if not 0 <= self.jitter <= 1:
            raise ConfigError(f"backoff.jitter: expected a share from 0 to 1, got {self.jitter}")
        if self.healthy_after_s < 0:
            raise ConfigError(f"backoff.healthy_after_s: expected at least 0, got {self.healthy_after_s}")

    def ceiling_s(self, failures: int) -> float:
        """The longest possible delay after this many failures in a row, from 1."""
        return min(self.cap_s, self.initial_s * 2.0 ** min(failures - 1, _MAX_DOUBLINGS))


class Backoff:
    """Counts failures in a row and answers the next delay.

    Full jitter (a uniform draw from 0 to the ceiling) spreads the clients that one outage cut off at
    the same moment: Brooker, "Exponential Backoff And Jitter", 2015.

    Args:
        policy: the delays.
        draw: the randomness; daemons that lose the same server draw differently.
    """

    __slots__ = ("_draw", "_policy", "failures")

    def __init__(self, policy: BackoffPolicy, draw: Draw) -> None:
        self._policy = policy
        self._draw = draw
        self.failures = 0

    def failed(self, up_for_s: float = 0.0) -> float:
        """Seconds to wait after one more failure; ``up_for_s`` is how long things had worked before it."""
        if up_for_s >= self._policy.healthy_after_s > 0:
            self.failures = 0
        self.failures += 1
        return self._policy.ceiling_s(self.failures) * (1.0 - self._policy.jitter * self._draw())

    def reset(self) -> None:
        """Things work: the next failure is the first again."""
        self.failures = 0
