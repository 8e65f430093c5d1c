"""Time as the events tell it: it never goes back, and those that try are counted."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from core.clock import NS_PER_S, EventClock, SystemClock


@given(st.lists(st.integers(0, 2**63 - 1)))
def test_the_clock_stands_at_the_latest_event(times: list[int]) -> None:
    clock = EventClock()
    for latest, ts_ns in zip([max(times[: i + 1]) for i in range(len(times))], times, strict=True):
        assert clock.advance_to(ts_ns) == latest == clock.now_ns()


def test_events_older_than_the_tolerance_are_counted() -> None:
    clock = EventClock(100 * NS_PER_S, tolerance_ns=5 * NS_PER_S)
    for second in (95, 94, 101, 96, 95):
        clock.advance_to(second * NS_PER_S)
    assert (clock.now_ns(), clock.backwards) == (101 * NS_PER_S, 2)


def test_the_machines_clock_is_in_nanoseconds_since_the_epoch() -> None:
    before = time.time_ns()
    assert before <= SystemClock().now_ns() <= time.time_ns()
