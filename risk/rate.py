"""Order rate: a token bucket in integer nanoseconds, its policy, and the specification's asynchronous face.

A bucket of N tokens that fills at N per minute is kept as one number, the moment at which it is full
again (the generic cell rate algorithm, ITU-T I.371): nothing accumulates and nothing drifts.
"""

from __future__ import annotations

from core.clock import NS_PER_MINUTE, NS_PER_MS, Clock, SystemClock
from core.contracts import DenialCode, OrderIntent
from core.errors import ConfigError
from risk.denial import Denial
from risk.inputs import RiskInputs
from risk.limits import RiskLimits


def wait_ns(backlog_ns: int, cap_per_min: int) -> int:
    """The time until the next order fits, when the bucket needs ``backlog_ns`` to be full; 0 when it fits now."""
    interval = NS_PER_MINUTE // cap_per_min
    return max(0, backlog_ns + interval - interval * cap_per_min)


def order_rate(intent: OrderIntent, inputs: RiskInputs, limits: RiskLimits) -> Denial | None:
    """Deny when the symbol's bucket of ``orders_per_min_cap`` tokens is empty."""
    cap = limits.orders_per_min_cap
    wait = wait_ns(inputs.rate_backlog_ns, cap)
    if not wait:
        return None
    used = -(-inputs.rate_backlog_ns // (NS_PER_MINUTE // cap))  # tokens that are missing, a part counts whole
    return Denial(DenialCode.ORDER_RATE, {"orders": used, "cap": cap, "wait_ms": wait / NS_PER_MS})


class TokenBucket:
    """At most ``cap_per_min`` orders at once, then one every 60 s / ``cap_per_min``, in the time of its caller.

    Raises:
        ConfigError: the cap is less than 1.
    """

    __slots__ = ("cap_per_min", "full_at_ns")

    def __init__(self, cap_per_min: int, full_at_ns: int = 0) -> None:
        if cap_per_min < 1:
            raise ConfigError(f"orders_per_min_cap: expected at least 1, got {cap_per_min}")
        self.cap_per_min = cap_per_min
        self.full_at_ns = full_at_ns

    def backlog_ns(self, ts_ns: int) -> int:
        """The time from ``ts_ns`` until the bucket is full: 60 s / ``cap_per_min`` for each missing token."""
        return max(0, self.full_at_ns - ts_ns)

    def take(self, ts_ns: int, cap_per_min: int = 0) -> bool:
        """Take one token at ``ts_ns`` if there is one. A refusal changes nothing.

        A recorded take is repeated under the ``cap_per_min`` of then, whatever the bucket's is now.
        """
        cap = cap_per_min or self.cap_per_min
        if wait_ns(self.backlog_ns(ts_ns), cap):
            return False
        self.full_at_ns = max(self.full_at_ns, ts_ns) + NS_PER_MINUTE // cap
        return True


class RateLimiter:
    """The token bucket of one symbol on a clock.

    Args:
        symbol: whose orders are counted.
        cap_per_min: orders per minute.
        clock: tells the time; the machine's unless given.
    """

    def __init__(self, symbol: str, cap_per_min: int, clock: Clock | None = None) -> None:
        self.symbol = symbol
        self.bucket = TokenBucket(cap_per_min)
        self._clock = clock if clock is not None else SystemClock()  # ambient: outside the engine only

    async def acquire(self) -> bool:
        """Take one token now; False when there is none. Never waits."""
        return self.bucket.take(self._clock.now_ns())
