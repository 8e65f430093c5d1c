"""Delays between tries grow, are spread by the jitter that the caller injects, and never pass their cap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError
from core.retry import Backoff, BackoffPolicy


def test_without_jitter_delays_double_up_to_the_cap() -> None:
    backoff = Backoff(BackoffPolicy(initial_s=0.5, cap_s=3.0, jitter=0.0), lambda: 0.7)

    assert [backoff.failed() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


@given(draw=st.floats(0.0, 1.0, exclude_max=True), failures=st.integers(1, 200))
def test_full_jitter_stays_between_nothing_and_the_ceiling(draw: float, failures: int) -> None:
    policy = BackoffPolicy(initial_s=0.5, cap_s=30.0)
    backoff = Backoff(policy, lambda: draw)

    delays = [backoff.failed() for _ in range(failures)]

    assert all(0.0 <= delay <= policy.ceiling_s(n) <= 30.0 for n, delay in enumerate(delays, 1))


def test_a_connection_that_lived_long_enough_starts_the_count_anew() -> None:
    backoff = Backoff(BackoffPolicy(initial_s=1.0, cap_s=60.0, healthy_after_s=10.0, jitter=0.0), lambda: 0.0)
    for _ in range(4):
        backoff.failed(up_for_s=9.9)

    assert backoff.failed(up_for_s=9.9) == 16.0
    assert backoff.failed(up_for_s=10.0) == 1.0


def test_a_reset_makes_the_next_failure_the_first() -> None:
    backoff = Backoff(BackoffPolicy(initial_s=1.0, cap_s=60.0, jitter=0.0), lambda: 0.0)
    backoff.failed()
    backoff.reset()

    assert backoff.failed() == 1.0


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"initial_s": 0.0}, "initial_s"),
        ({"initial_s": 2.0, "cap_s": 1.0}, "cap_s=1.0"),
        ({"jitter": 1.1}, "jitter"),
        ({"healthy_after_s": -1.0}, "healthy_after_s"),
    ],
)
def test_delays_that_make_no_sense_are_refused_by_name(wrong: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        BackoffPolicy(**wrong)
