"""A strategy that takes its signals from elsewhere is told from one that listens to the prices it is handed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from backtest.contracts import BacktestConfig, FillTiming
from backtest.lookahead.command import check_honesty
from core.contracts import OHLCVBar, OrderCancel, OrderIntent
from strategies.base import StrategyBase
from strategies.context import StrategyContext
from strategies.samples.sma_cross import SmaCross
from tests.support.backtests.runs import ATOM, INSTRUMENTS, WIDE, walk

CONFIG = BacktestConfig(ATOM, "secret", 0, 0, 100_000.0, 0.001, 0.0, fill_timing=FillTiming.NEXT_OPEN)
BARS = walk(5, 600, gap=0.0)
NEXT = dict(zip(BARS.ts_close.tolist(), [*BARS.close[1:].tolist(), 0.0], strict=True))
RISES = dict(zip(BARS.ts_close.tolist(), [*(BARS.close[1:] > BARS.close[:-1]).tolist(), False], strict=True))


class Secret(StrategyBase):
    """Holds one unit before every rise, out of a table that nobody handed it."""

    strategy_id = "secret"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._long = False

    def on_event(self, event: Any) -> Iterable[OrderIntent | OrderCancel]:
        if not isinstance(event, OHLCVBar) or RISES[event.ts_close] == self._long:
            return []
        self._long = not self._long
        return [OrderIntent(self.strategy_id, event.symbol, "buy" if self._long else "sell", "market", 1.0)]


class Once(StrategyBase):
    """Buys once."""

    strategy_id = "once"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._done = False

    def on_event(self, event: Any) -> Iterable[OrderIntent | OrderCancel]:
        if self._done:
            return []
        self._done = True
        return [OrderIntent("secret", event.symbol, "buy", "market", 1.0)]


def test_signals_out_of_a_table_of_its_own_are_not_called_honest() -> None:
    report = check_honesty(CONFIG, Secret, BARS, INSTRUMENTS, WIDE, most_cuts=6, most_starts=2)

    assert report.truncated.clean  # nothing else can see it: the table is never cut
    assert report.outside.deaf
    assert report.outside.elsewhere
    assert report.outside.same == 1.0
    assert report.lines()[-1].endswith("unknown: it does not decide by the prices that it is given")
    assert any("100% of the decisions come out the same on wholly other prices" in line for line in report.lines())


class Sidelong(Secret):
    """Buys when its own table of prices to come lies above the price that it is given."""

    def on_event(self, event: Any) -> Iterable[OrderIntent | OrderCancel]:
        if not isinstance(event, OHLCVBar) or (NEXT[event.ts_close] > event.close) == self._long:
            return []
        self._long = not self._long
        return [OrderIntent(self.strategy_id, event.symbol, "buy" if self._long else "sell", "market", 1.0)]


def test_a_table_that_is_held_against_the_prices_given_is_seen_in_another_year() -> None:
    report = check_honesty(CONFIG, Sidelong, BARS, INSTRUMENTS, WIDE, most_cuts=6, most_starts=2)

    assert report.outside.dated
    assert "KeyError" in report.outside.error
    assert report.lines()[-1].endswith("unknown: it does not decide by the prices that it is given")


def test_a_strategy_that_listens_to_prices_is_honest() -> None:
    cross = lambda context: SmaCross(context)  # noqa: E731 - a maker, as an entrant has one
    config = BacktestConfig(
        ATOM, "sma_cross_v1", 0, 0, 100_000.0, 0.001, 0.0, fill_timing=FillTiming.NEXT_OPEN,
        params={"fast": 3, "slow": 9},
    )  # fmt: skip

    report = check_honesty(config, cross, BARS, INSTRUMENTS, WIDE, most_cuts=6, most_starts=2)

    assert not report.outside.deaf
    assert report.outside.later == 1.0
    assert report.lines()[-1].endswith("honest")


def test_of_a_single_decision_nothing_is_said() -> None:
    report = check_honesty(CONFIG, Once, BARS, INSTRUMENTS, WIDE, most_cuts=6, most_starts=2)

    assert not report.outside.deaf
    assert "Too few decisions to tell whether prices lead to them." in report.outside.lines()
