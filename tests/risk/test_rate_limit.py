"""Orders per minute: the token bucket, its asynchronous face, and the engine's use of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import NS_PER_MINUTE, NS_PER_S, EventClock
from core.contracts import DenialCode
from core.errors import ConfigError
from risk import RateLimiter, TokenBucket
from tests.support.risk_builders import at, decision_in, engine, intent, trade


async def test_the_limiter_lets_through_as_many_as_the_cap_and_then_no_more() -> None:
    limiter = RateLimiter("ATOM/USDT", cap_per_min=3, clock=EventClock(NS_PER_S))
    assert [await limiter.acquire() for _ in range(5)] == [True, True, True, False, False]


async def test_the_limiter_gains_one_order_per_share_of_the_minute() -> None:
    clock = EventClock(NS_PER_S)
    limiter = RateLimiter("ATOM/USDT", cap_per_min=3, clock=clock)
    for _ in range(3):
        await limiter.acquire()
    clock.advance_to(21 * NS_PER_S - 1)
    early = await limiter.acquire()
    clock.advance_to(21 * NS_PER_S)
    assert not early
    assert [await limiter.acquire(), await limiter.acquire()] == [True, False]


async def test_the_limiter_runs_on_the_machines_clock_by_default() -> None:
    limiter = RateLimiter("ATOM/USDT", 1)
    assert [await limiter.acquire(), await limiter.acquire()] == [True, False]


def test_a_cap_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected at least 1, got 0"):
        TokenBucket(0)


@given(cap=st.integers(1, 200), steps=st.lists(st.integers(0, 20 * NS_PER_S), min_size=1, max_size=200))
def test_the_bucket_equals_a_count_of_tokens_in_exact_fractions(cap: int, steps: list[int]) -> None:
    bucket, ts = TokenBucket(cap), 0
    interval = NS_PER_MINUTE // cap
    level = cap * interval  # in nanoseconds of filling: one token is worth one interval
    for step in steps:
        ts += step
        level = min(cap * interval, level + step)
        expected = level >= interval
        if expected:
            level -= interval
        assert bucket.take(ts) is expected
        assert bucket.backlog_ns(ts) == cap * interval - level


@given(cap=st.integers(1, 50), steps=st.lists(st.integers(-5 * NS_PER_S, 5 * NS_PER_S), max_size=100))
def test_time_that_goes_back_never_lets_more_through(cap: int, steps: list[int]) -> None:
    bucket, forward, ts, latest = TokenBucket(cap), TokenBucket(cap), NS_PER_MINUTE, NS_PER_MINUTE
    taken = most = 0
    for step in steps:
        ts += step
        latest = max(latest, ts)
        taken += bucket.take(ts)
        most += forward.take(latest)
        assert taken <= most


def test_the_engine_denies_the_order_beyond_the_cap_and_says_how_long_to_wait() -> None:
    risk = engine(orders_per_min_cap=2)
    risk.on_event(trade())
    allowed = [decision_in(risk.on_event(intent(qty=0.1, name=f"i-{n}"))).allowed for n in range(2)]
    denied = decision_in(risk.on_event(intent(qty=0.1, name="i-2", seconds=1)))
    assert allowed == [True, True]
    assert denied.code is DenialCode.ORDER_RATE
    assert denied.reason == "ORDER_RATE: orders=2.00 cap=2.00 wait_ms=29000.00"


def test_the_engine_lets_the_next_order_through_once_the_wait_is_over() -> None:
    risk = engine(orders_per_min_cap=2)
    for n, seconds in enumerate((0, 0, 30)):
        risk.on_event(trade(seconds=seconds))
        assert decision_in(risk.on_event(intent(qty=0.1, name=f"i-{n}", seconds=seconds))).allowed


def test_denied_orders_use_up_nothing() -> None:
    risk = engine(orders_per_min_cap=1)
    risk.on_event(trade())
    risk.on_event(intent(qty=100, name="i-1"))
    assert decision_in(risk.on_event(intent(qty=0.1, name="i-2"))).allowed


def test_symbols_have_their_own_rates() -> None:
    risk = engine(orders_per_min_cap=1)
    risk.on_event(trade())
    risk.on_event(trade(10.0, symbol="ATOM/USDT"))
    first = decision_in(risk.on_event(intent(qty=0.1, name="i-1")))
    other = decision_in(risk.on_event(intent(qty=0.1, symbol="ATOM/USDT", name="i-2")))
    assert (first.allowed, other.allowed) == (True, True)


def test_a_new_cap_holds_from_the_next_intent() -> None:
    risk = engine(orders_per_min_cap=1)
    risk.on_event(trade())
    risk.on_event(intent(qty=0.1, name="i-1"))
    risk.set_limits(engine(orders_per_min_cap=60).limits)
    risk.on_event(trade(seconds=2))
    decision = decision_in(risk.on_event(intent(qty=0.1, name="i-2", seconds=2)))
    assert decision.ts_decided_ns == at(2)
    assert decision.caps["orders_per_min_cap"] == 60.0
    assert decision.allowed
