"""What a live run says of its feed: interruptions, how long they were, and whether it was there at the end."""

from __future__ import annotations

import pytest

from apps.fleet.feed_health import FeedHealth
from apps.fleet.trust import feed_check
from core.clock import NS_PER_S
from core.contracts import FeedState, FeedStatus

START = 1_723_075_200 * NS_PER_S


def told(*states: tuple[FeedState, float], symbol: str = "BTC/USDT") -> list[FeedStatus]:
    """Statuses of a symbol: state and seconds since the start."""
    return [FeedStatus(symbol, "venue", state, START + int(at_s * NS_PER_S), f"{state}!") for state, at_s in states]


def health_after(*statuses: FeedStatus) -> FeedHealth:
    health = FeedHealth()
    for status in statuses:
        health.take(status)
    return health


def test_a_feed_that_never_wavered_passes() -> None:
    check = feed_check(health_after(*told(("connecting", 0), ("live", 1), ("ended", 9))))
    assert (check.verdict, check.detail) == ("PASS", "connected without interruption")


def test_interruptions_are_counted_and_their_lengths_summed_up() -> None:
    first = told(("live", 0), ("reconnecting", 2), ("stale", 3), ("live", 4.5), ("stale", 6), ("live", 7))
    second = told(("live", 0), ("reconnecting", 1), ("live", 2), symbol="ETH/USDT")
    check = feed_check(health_after(*first, *second))
    assert (check.verdict, check.detail) == ("PASS", "3 interruptions, 4.5 s in all")


def test_a_feed_that_was_away_at_the_end_fails_and_says_since_when() -> None:
    check = feed_check(health_after(*told(("live", 0), ("stale", 2), ("reconnecting", 3), ("ended", 9))))
    assert check.verdict == "FAIL"
    assert check.detail == "BTC/USDT reconnecting: reconnecting!; no trade after 00:00:02 UTC was seen"


def test_a_run_without_a_word_of_its_feed_fails() -> None:
    assert feed_check(FeedHealth()).verdict == "FAIL"


def test_a_feed_that_was_never_there_fails() -> None:
    check = feed_check(health_after(*told(("connecting", 0), ("reconnecting", 3))))
    assert (check.verdict, check.detail) == ("FAIL", "never live: BTC/USDT reconnecting: reconnecting!")


@pytest.mark.parametrize("repeated", ["reconnecting", "live"])
def test_only_a_change_of_state_is_announced(repeated: FeedState) -> None:
    announced: list[str] = []
    health = FeedHealth(lambda status: announced.append(status.state))
    for status in told(("connecting", 0), (repeated, 1), (repeated, 2), ("stale", 3), ("ended", 4)):
        health.take(status)
    assert announced == ["connecting", repeated, "stale"]
