"""A strategy that raises, hangs or answers garbage: named with place and remedy, counted, and nothing else is lost."""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from core.contracts import OrderCancel, OrderIntent
from strategies.base import StrategyBase
from strategies.hosting.admission import ANSWER_LIMIT
from strategies.hosting.hosted import ERROR_LIMIT, TIMEOUT_LIMIT
from tests.support.strategy_cases import SYMBOL, BuysEachTrade, entry, fill_of, manager_of, strategy_in, trade

BUDGET_S = 0.25


class Does(StrategyBase):
    """What the test tells it to do."""

    strategy_id = "does"
    action: Callable[[Any, Any], Any] = staticmethod(lambda strategy, event: ())

    def on_event(self, event: Any) -> Any:
        return self.action(self, event)


def manager_doing(action: Callable[[Any, Any], Any], **options: Any) -> Any:
    """A manager of a strategy that does the action and of one that buys on every trade after it."""
    manager = manager_of(entry(Does, id="bad"), entry(BuysEachTrade, id="good"), **options)
    strategy_in(manager, "bad").action = action
    return manager


def good(**changes: Any) -> OrderIntent:
    return replace(OrderIntent("bad", SYMBOL, "buy", "limit", 1.0, limit_price=7.0), **changes)


def raising(error: BaseException) -> Callable[[Any, Any], Any]:
    def action(strategy: Any, event: Any) -> Any:
        raise error

    return action


@pytest.mark.parametrize(
    "error", [ValueError("oh"), SystemExit(3), asyncio.CancelledError(), RecursionError(), GeneratorExit()]
)
def test_whatever_a_strategy_raises_the_others_answer_and_it_is_counted(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    manager = manager_doing(raising(error))

    (intent,) = manager.on_event(trade())

    assert intent.strategy_id == "good"
    assert manager.status()[0].errors == 1
    assert "strategy bad (tests.strategies.hosting.test_containment.Does) on TradeEvent at 1000000000" in caplog.text
    assert "Traceback" in caplog.text


def test_control_c_still_stops_the_process() -> None:
    with pytest.raises(KeyboardInterrupt):
        manager_doing(raising(KeyboardInterrupt())).on_event(trade())


def test_a_strategy_that_fails_too_often_in_a_row_is_stopped_and_the_remedy_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    manager = manager_doing(raising(ValueError("oh")))

    for number in range(1, 10):
        assert len(manager.on_event(trade(number))) == 1

    status = manager.status()[0]
    assert (status.calls, status.errors) == (ERROR_LIMIT, ERROR_LIMIT)
    assert status.stopped == f"{ERROR_LIMIT} failed calls in a row, 0 timeouts"
    critical = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert critical == [
        f"strategy bad is stopped after {status.stopped}, the last one: ValueError: oh; "
        "correct it, then reload the strategy_runner (SIGHUP); its positions are kept"
    ]


def test_a_call_that_goes_well_forgives_the_failures_before_it() -> None:
    def every_third_time(strategy: Any, event: Any) -> list[Any]:
        if event.ts_ns // 1_000_000_000 % ERROR_LIMIT:
            raise ValueError
        return []

    manager = manager_doing(every_third_time)
    for number in range(1, 31):
        manager.on_event(trade(number))

    assert manager.status()[0].stopped == ""
    assert manager.status()[0].errors == 20


def test_fills_of_a_stopped_strategy_are_still_booked() -> None:
    manager = manager_doing(raising(ValueError()))
    for number in range(1, 5):
        manager.on_event(trade(number))

    manager.on_event(fill_of(good(intent_id="i-1")))

    assert manager.snapshot()["positions"]["bad"]["positions"][SYMBOL]["lots"] == 100


def forever(strategy: Any, event: Any) -> Any:
    while True:
        pass


def sleeping(strategy: Any, event: Any) -> Any:
    time.sleep(600)


def stubborn(strategy: Any, event: Any) -> Any:
    """Swallows everything it can for a while."""
    for _ in range(3):
        try:
            while True:
                pass
        except BaseException:  # noqa: BLE001 — the point of the test
            continue
    while True:
        pass


def endless_generator(strategy: Any, event: Any) -> Any:
    while True:
        if event is None:
            yield


@pytest.mark.parametrize("hang", [forever, sleeping, stubborn, endless_generator])
def test_a_strategy_that_hangs_loses_its_turn_after_the_budget(hang: Callable[[Any, Any], Any]) -> None:
    manager = manager_doing(hang, budget_s=BUDGET_S)

    (intent,) = manager.on_event(trade())

    assert intent.strategy_id == "good"
    assert manager.status()[0].timeouts == 1
    assert "StrategyTimeout: not done after 0.25 s" in manager.status()[0].last_error


def test_a_strategy_that_hangs_now_and_then_is_stopped_all_the_same() -> None:
    manager = manager_doing(lambda s, e: forever(s, e) if e.ts_ns // 1_000_000_000 % 2 else [], budget_s=BUDGET_S)

    for number in range(1, 2 * TIMEOUT_LIMIT + 3):
        assert len(manager.on_event(trade(number))) == 1

    assert manager.status()[0].timeouts == TIMEOUT_LIMIT
    assert "timeouts" in manager.status()[0].stopped


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (42, "expected an iterable of OrderIntent, got int; return a list"),
        (good(), "expected an iterable of OrderIntent, got OrderIntent; return a list"),
        (["buy"], "answer 0: expected an OrderIntent or OrderCancel of core.contracts, got str 'buy'"),
        ([{"side": "buy"}], "got dict"),
        ([good(strategy_id="good")], "strategy_id: expected its own, 'bad', got 'good'; use self.strategy_id"),
        ([good(symbol="BTC/USDT")], "symbol: expected one of ATOM/USDT, got 'BTC/USDT'; add it"),
        ([good(qty=0.001)], "expected a quantity in steps of 0.01, got 0.001; round with context.instruments"),
        ([good(limit_price=7.00001)], "expected a price in steps of 0.001"),
        ([good(meta={"model": object()})], "expected plain JSON values in every field"),
        ([good(meta={"n": {1: [b"\xff", {2, 3}], "f": len}})], "expected plain JSON values"),
        ([good(qty=True)], "Expected `float`, got `bool`"),
        ([OrderCancel("o-1", SYMBOL, "good", 1)], "strategy_id: expected its own"),
        (itertools.repeat(good()), f"expected at most {ANSWER_LIMIT} answers to one event"),
    ],
)
def test_garbage_is_refused_with_the_reason_and_counted(
    answer: Any, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    manager = manager_doing(lambda s, e: answer)

    (intent,) = manager.on_event(trade())

    status = manager.status()[0]
    assert intent.strategy_id == "good"
    assert (status.rejected, status.intents) == (1, 0)
    assert text in status.last_error
    assert "strategy bad (tests.strategies.hosting.test_containment.Does) on TradeEvent" in caplog.text


def test_what_is_sound_in_an_answer_passes_beside_what_is_not() -> None:
    manager = manager_doing(lambda s, e: [good(), None, good(limit_price=8.0)])

    answers = manager.on_event(trade())

    assert [answer.limit_price for answer in answers] == [7.0, 8.0, None]
    assert manager.status()[0].rejected == 1


def test_an_answer_is_whole_or_nothing() -> None:
    def yields_then_raises(strategy: Any, event: Any) -> Any:
        yield good()
        raise ValueError

    assert [answer.strategy_id for answer in manager_doing(yields_then_raises).on_event(trade())] == ["good"]


def test_a_strategy_that_keeps_answering_garbage_is_stopped() -> None:
    manager = manager_doing(lambda s, e: [None])

    for number in range(1, 10):
        manager.on_event(trade(number))

    assert manager.status()[0].calls == ERROR_LIMIT


def test_an_object_that_cannot_even_be_shown_is_refused() -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise ValueError

    manager = manager_doing(lambda s, e: [Hostile()])
    manager.on_event(trade())

    assert "got Hostile <unprintable: ValueError>" in manager.status()[0].last_error


def test_nothing_to_say_may_be_said_by_returning_nothing() -> None:
    manager = manager_doing(lambda s, e: None)
    manager.on_event(trade())

    assert manager.status()[0].last_error == ""


def test_numbers_leave_as_plain_floats() -> None:
    numpy = pytest.importorskip("numpy")
    manager = manager_doing(lambda s, e: [good(qty=numpy.float64(2.0)), good(qty=3)])

    quantities = [answer.qty for answer in manager.on_event(trade())][:2]

    assert quantities == [2.0, 3.0]
    assert [type(qty) for qty in quantities] == [float, float]


def test_a_constructor_that_raises_or_hangs_leaves_the_others_running() -> None:
    class Raises(BuysEachTrade):
        def __init__(self, context: Any) -> None:
            raise ValueError("no model file")

    class Hangs(BuysEachTrade):
        def __init__(self, context: Any) -> None:
            forever(self, None)

    for strategy_class in (Raises, Hangs):
        strategy_class.__qualname__ = strategy_class.__name__
        setattr(sys.modules[__name__], strategy_class.__name__, strategy_class)
    manager = manager_of(
        entry(f"{__name__}.Raises", id="raises"),
        entry(f"{__name__}.Hangs", id="hangs"),
        entry(BuysEachTrade, id="good"),
        budget_s=BUDGET_S,
    )

    assert manager.failures["raises"] == "ValueError: no model file"
    assert "StrategyTimeout" in manager.failures["hangs"]
    assert len(manager.on_event(trade())) == 1


def test_no_answer_is_later_than_the_event_it_answers() -> None:
    """Downstream, the latest time seen is now: one stamp from the future would end the day and refill the rate."""
    ahead = trade().ts_ns + 86_400 * 10**9
    manager = manager_doing(lambda strategy, event: [good(ts_local_ns=ahead), OrderCancel("o-1", SYMBOL, "bad", ahead)])

    answers = [answer for answer in manager.on_event(trade()) if answer.strategy_id == "bad"]

    assert [answer.ts_ns for answer in answers] == [trade().ts_ns] * 2


def test_an_answer_may_be_dated_back_to_when_its_signal_arose() -> None:
    manager = manager_doing(lambda strategy, event: [good(ts_local_ns=1)])

    answers = [answer for answer in manager.on_event(trade(5)) if answer.strategy_id == "bad"]

    assert [answer.ts_ns for answer in answers] == [1]
