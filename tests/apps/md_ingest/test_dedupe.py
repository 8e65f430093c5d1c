"""Each trade leaves once and in order; what is missing leaves as a gap of exactly the missing ids."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import NS_PER_S
from core.contracts import Contract, FeedGap, FeedStatus, TradeEvent
from core.errors import ContractError
from core.market.sequence import MAX_HOLE, BackfillDone, BackfillRequest, Deduplicator, JournaledTail, TradeSequencer

BASE = 1_723_161_255 * NS_PER_S


def trade(number: int | str, ts: int = 0) -> TradeEvent:
    offset = number if isinstance(number, int) else 0
    return TradeEvent("BTC/USDT", 100.0, 1.0, "buy", ts or BASE + offset, str(number), "binance")


def shown(events: object) -> list[str]:
    """Events in short: ``5`` a trade, ``?6-7`` a request, ``!6-7`` a gap."""
    out = []
    for event in events:  # type: ignore[attr-defined]
        if isinstance(event, TradeEvent):
            out.append(event.trade_id)
        elif isinstance(event, BackfillRequest):
            out.append(f"?{event.first_id}-{event.last_id}")
        else:
            assert isinstance(event, FeedGap)
            out.append(f"!{event.first_id}-{event.last_id}")
    return out


def test_the_window_remembers_the_latest_512_ids_and_forgets_the_513th() -> None:
    seen = Deduplicator()
    for number in range(513):
        assert seen.is_new(str(number))

    assert len(seen) == 512
    assert "0" not in seen
    assert not seen.is_new("1")
    assert seen.is_new("0")


def test_a_window_below_one_is_refused() -> None:
    with pytest.raises(ContractError, match=r"Deduplicator\.window: expected at least 1, got 0"):
        Deduplicator(window=0)


@pytest.mark.parametrize(
    ("story", "steps"),
    [
        ("trades in order leave at once", [(5, ["5"]), (6, ["6"])]),
        ("a repeat leaves nothing", [(5, ["5"]), (5, []), (6, ["6"]), (5, [])]),
        ("a hole is asked for and later trades wait", [(5, ["5"]), (8, ["?6-7"]), (9, [])]),
        ("a filled hole lets the waiting trades go", [(5, ["5"]), (8, ["?6-7"]), (6, ["6"]), (7, ["7", "8"])]),
        ("a hole may be filled backwards", [(5, ["5"]), (8, ["?6-7"]), (7, []), (6, ["6", "7", "8"])]),
        ("a second hole is asked for by itself", [(1, ["1"]), (3, ["?2-2"]), (6, ["?4-5"]), (2, ["2", "3"])]),
        ("a waiting trade that repeats is dropped", [(1, ["1"]), (3, ["?2-2"]), (3, []), (2, ["2", "3"])]),
        ("what cannot be fetched is a gap", [(1, ["1"]), (4, ["?2-3"]), ("done 2-3", ["!2-3", "4"])]),
        (
            "only what is still missing is a gap, in as many pieces as it has",
            [(1, ["1"]), (7, ["?2-6"]), (4, []), ("done 2-6", ["!2-3", "4", "!5-6", "7"])],
        ),
        (
            "a later hole that is given up waits for the earlier one",
            [(1, ["1"]), (3, ["?2-2"]), (5, ["?4-4"]), ("done 4-4", []), (2, ["2", "3", "!4-4", "5"])],
        ),
        (
            "a trade that comes after it was given up but before its turn is taken",
            [(1, ["1"]), (3, ["?2-2"]), (5, ["?4-4"]), ("done 4-4", []), (4, []), (2, ["2", "3", "4", "5"])],
        ),
        ("a trade after its gap is dropped", [(1, ["1"]), (3, ["?2-2"]), ("done 2-2", ["!2-2", "3"]), (2, [])]),
        ("an answer to nothing does nothing", [(1, ["1"]), ("done 2-9", []), (2, ["2"])]),
        (
            "an answer never gives up what was not missed",
            [(1, ["1"]), (3, ["?2-2"]), ("done 0-99", ["!2-2", "3"]), (4, ["4"])],
        ),
        ("ids that are names only lose their repeats", [("a", ["a"]), ("b", ["b"]), ("a", []), ("c9", ["c9"])]),
        ("a trade without an id always passes", [("", [""]), ("", [""])]),
    ],
)  # fmt: skip
def test_trades_leave_in_order(story: str, steps: list[tuple[int | str, list[str]]]) -> None:
    sequencer = TradeSequencer("BTC/USDT")

    for given_, expected in steps:
        if isinstance(given_, str) and given_.startswith("done "):
            first, last = given_.removeprefix("done ").split("-")
            answer = sequencer.backfill_done(BackfillDone("BTC/USDT", int(first), int(last)))
        else:
            answer = sequencer.offer(trade(given_))
        assert shown(answer) == expected, f"{story}: at {given_}"


def test_where_ids_do_not_count_a_jump_is_no_hole() -> None:
    sequencer = TradeSequencer("BTC/USDT", contiguous=False)

    assert shown(sequencer.offer(trade(5))) == ["5"]
    assert shown(sequencer.offer(trade(99))) == ["99"]
    assert shown(sequencer.offer(trade(5))) == []
    assert sequencer.counters.duplicates == 1


def test_what_was_missed_since_an_earlier_run_is_a_hole() -> None:
    sequencer = TradeSequencer("BTC/USDT", last_id=10)

    assert shown(sequencer.offer(trade(10))) == []
    assert shown(sequencer.offer(trade(14))) == ["?11-13"]


def test_a_full_buffer_gives_up_the_first_hole_only() -> None:
    sequencer = TradeSequencer("BTC/USDT", max_held=3)
    for number in (1, 3, 5, 6):
        sequencer.offer(trade(number))

    answer = sequencer.offer(trade(7))

    assert shown(answer) == ["!2-2", "3"]
    assert "3 later trades" in answer[0].reason  # type: ignore[attr-defined]
    assert sequencer.waiting == 3


def test_a_hole_that_stays_open_too_long_is_given_up() -> None:
    sequencer = TradeSequencer("BTC/USDT", max_wait_ns=15 * NS_PER_S)
    sequencer.offer(trade(1, BASE))
    sequencer.offer(trade(3, BASE))

    assert shown(sequencer.expire(BASE + 15 * NS_PER_S)) == []
    assert shown(sequencer.expire(BASE + 15 * NS_PER_S + 1)) == ["!2-2", "3"]


def test_a_second_hole_has_its_own_patience_from_when_the_first_was_given_up() -> None:
    sequencer = TradeSequencer("BTC/USDT", max_wait_ns=15 * NS_PER_S)
    for number in (1, 3, 5):
        sequencer.offer(trade(number, BASE))
    given_up_at = BASE + 40 * NS_PER_S
    assert shown(sequencer.expire(given_up_at)) == ["!2-2", "3"]

    assert shown(sequencer.expire(given_up_at + 15 * NS_PER_S)) == []
    assert shown(sequencer.expire(given_up_at + 15 * NS_PER_S + 1)) == ["!4-4", "5"]


def test_trades_below_the_first_id_seen_are_dropped_and_counted_by_themselves() -> None:
    sequencer = TradeSequencer("BTC/USDT", window=2)
    for number in (5, 3, 4, 6, 7, 8, 5):
        sequencer.offer(trade(number))

    counters = sequencer.counters
    assert (counters.accepted, counters.before_first, counters.late) == (4, 2, 1)


def test_where_ids_do_not_count_a_trade_that_is_journaled_is_dropped_after_a_restart() -> None:
    tail = JournaledTail(BASE, BASE + 5, frozenset({"a", "7"}))
    sequencer = TradeSequencer("BTC/USDT", contiguous=False, tail=tail)

    assert shown(sequencer.offer(trade("a", BASE + 3))) == []
    assert shown(sequencer.offer(trade(7, BASE + 5))) == []
    assert shown(sequencer.offer(trade("older", BASE - 1))) == []
    assert shown(sequencer.offer(trade("", BASE + 5))) == []
    assert sequencer.counters.duplicates == 4
    assert shown(sequencer.offer(trade("b", BASE + 3))) == ["b"], "of the same time, and not journaled"
    assert shown(sequencer.offer(trade(8, BASE + 5))) == ["8"]
    assert shown(sequencer.offer(trade("", BASE + 6))) == [""]


def test_the_end_of_the_feed_lets_everything_go() -> None:
    sequencer = TradeSequencer("BTC/USDT")
    for number in (1, 3, 6):
        sequencer.offer(trade(number))

    assert shown(sequencer.flush("the recording ended")) == ["!2-2", "3", "!4-5", "6"]
    assert sequencer.waiting == 0


def test_a_leap_forward_is_a_gap_at_once_for_nobody_fetches_that_much() -> None:
    sequencer = TradeSequencer("BTC/USDT")
    sequencer.offer(trade(1))
    sequencer.offer(trade(3))
    far = MAX_HOLE + 50

    assert shown(sequencer.offer(trade(far))) == ["!2-2", "3", f"!4-{far - 1}", str(far)]
    assert shown(sequencer.offer(trade(far + 1))) == [str(far + 1)]
    assert sequencer.counters.missing == far - 3


def test_a_leap_back_is_a_venue_that_counts_anew_and_is_told() -> None:
    sequencer = TradeSequencer("BTC/USDT", last_id=5 * MAX_HOLE)

    status, first = sequencer.offer(trade(7))

    assert isinstance(status, FeedStatus)
    assert status.detail == f"trades: the venue counts anew from 7, it had reached {5 * MAX_HOLE}"
    assert first == trade(7)
    assert shown(sequencer.offer(trade(8))) == ["8"]
    assert sequencer.counters.restarts == 1


def test_everything_is_counted() -> None:
    sequencer = TradeSequencer("BTC/USDT", window=2)
    for number in (1, 2, 3, 3, 1, 6):
        sequencer.offer(trade(number))
    sequencer.backfill_done(BackfillDone("BTC/USDT", 4, 5, "gone"))

    counters = sequencer.counters
    assert (counters.accepted, counters.duplicates, counters.late) == (4, 1, 1)
    assert (counters.gaps, counters.missing) == (1, 2)


Step = tuple[str, int, int]
ids = st.integers(1, 60)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("trade"), ids, st.just(0)),
        st.tuples(st.just("done"), ids, st.integers(0, 10)),
        st.tuples(st.just("answer"), st.integers(0, 10), st.just(0)),
    ),
    max_size=150,
)


@settings(max_examples=300, deadline=None)
@given(steps=steps, max_held=st.integers(1, 30))
def test_any_mix_of_repeats_disorder_holes_and_refills_gives_each_id_once_and_in_order(
    steps: list[Step], max_held: int
) -> None:
    sequencer = TradeSequencer("BTC/USDT", max_held=max_held, window=16)
    left: list[Contract] = []
    asked: list[tuple[int, int]] = []
    offered: set[int] = set()
    for what, number, size in steps:
        if what == "trade":
            offered.add(number)
            answer = sequencer.offer(trade(number))
        elif what == "done":
            answer = sequencer.backfill_done(BackfillDone("BTC/USDT", number, number + size))
        elif number < len(asked):
            answer = sequencer.backfill_done(BackfillDone("BTC/USDT", *asked[number]))
        else:
            continue
        asked.extend((r.first_id, r.last_id) for r in answer if isinstance(r, BackfillRequest))
        left.extend(e for e in answer if not isinstance(e, BackfillRequest))
        assert sequencer.waiting <= max_held
    left.extend(sequencer.flush("end"))

    covered: list[int] = []
    for event in left:
        if isinstance(event, TradeEvent):
            covered.append(int(event.trade_id))
            assert int(event.trade_id) in offered
        else:
            assert isinstance(event, FeedGap)
            covered.extend(range(event.first_id, event.last_id + 1))
    if covered:
        assert covered == list(range(covered[0], covered[-1] + 1))
    counters = sequencer.counters
    assert counters.accepted == sum(isinstance(e, TradeEvent) for e in left)
    assert counters.missing == len(covered) - counters.accepted
    requested = [i for first, last in asked for i in range(first, last + 1)]
    assert len(requested) == len(set(requested)), "no id is asked for twice"
