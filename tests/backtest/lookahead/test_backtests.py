"""Honest and dishonest strategies in the engine: leaks by way of the data are found, the samples and kernels pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from backtest.contracts import BacktestConfig, FillTiming
from backtest.data.series import BarSeries
from backtest.data.trade_tape import TradeTape, longer_bars
from backtest.engine.slots import Entrant
from backtest.lookahead.command import FromData, check_honesty, decisions_of, main
from backtest.lookahead.data import Data, data_slicing
from core.contracts import OHLCVBar, OrderCancel, OrderIntent, TradeEvent
from strategies.base import StrategyBase
from strategies.context import StrategyContext
from strategies.kernels.rsi_tema_bb import RsiTemaBbKernel
from strategies.kernels.sma_cross import SmaCross as SmaCrossKernel
from strategies.kernels.trendline_break import TrendlineBreakKernel
from strategies.samples.buy_hold import BuyHold
from strategies.samples.rsi_tema_bb import RsiTemaBb
from strategies.samples.sma_cross import SmaCross
from strategies.samples.trendline_break import TrendlineBreak
from tests.support.backtests.runs import ATOM, INSTRUMENTS, T0, WIDE, walk

CONFIG = BacktestConfig(ATOM, "planted", 0, 0, 100_000.0, 0.001, 0.0, fill_timing=FillTiming.NEXT_OPEN)
Signals = Callable[[BarSeries], "np.ndarray[Any, np.dtype[np.float64]]"]


class Planned(StrategyBase):
    """Holds one unit while a signal computed beforehand is above zero."""

    strategy_id = "planned"

    def __init__(self, context: StrategyContext, plan: dict[int, float]) -> None:
        super().__init__(context)
        self._plan = plan
        self._long = False

    def on_event(self, event: Any) -> Iterable[OrderIntent | OrderCancel]:
        if not isinstance(event, OHLCVBar):
            return []
        wanted = self._plan.get(event.ts_close, 0.0) > 0
        if wanted == self._long:
            return []
        self._long = wanted
        return [OrderIntent(self.strategy_id, event.symbol, "buy" if wanted else "sell", "market", 1.0)]


def planned(signals: Signals) -> FromData:
    """A strategy whose signals are computed over all bars there are."""

    def build(data: Data) -> Callable[[StrategyContext], StrategyBase]:
        series = data[0]
        assert isinstance(series, BarSeries)
        plan = dict(zip(series.ts_close.tolist(), signals(series).tolist(), strict=True))
        return lambda context: Planned(context, plan)

    return FromData(build)


def next_bar(series: BarSeries) -> Any:
    return np.append(series.close[1:], series.close[-1:]) - series.close


def whole_sample_mean(series: BarSeries) -> Any:
    return series.close - series.close.mean()


def current_hour(series: BarSeries) -> Any:
    hours = (series.ts_close - 1) // 3_600_000_000_000
    last = np.append(np.flatnonzero(np.diff(hours)), len(hours) - 1)
    return series.close[last[np.searchsorted(last, np.arange(len(hours)))]] - series.close


def smoothed_both_ways(series: BarSeries) -> Any:
    return series.close - np.convolve(series.close, np.ones(9) / 9, mode="same")


def trailing_mean(series: BarSeries) -> Any:
    sums = np.cumsum(series.close)
    mean = np.where(np.arange(len(sums)) >= 20, (sums - np.concatenate([np.zeros(20), sums[:-20]])) / 20, np.inf)
    return series.close - mean


@pytest.mark.parametrize("signals", [next_bar, whole_sample_mean, current_hour, smoothed_both_ways])
def test_a_leak_through_signals_computed_beforehand_is_found(signals: Signals) -> None:
    report = check_honesty(CONFIG, planned(signals), walk(3, 300, gap=0.0), INSTRUMENTS, WIDE, most_starts=2)
    assert not report.truncated.clean
    assert not report.disturbed.clean
    assert "NOT TO BE TRUSTED" in report.lines()[-1]


def test_signals_computed_beforehand_without_a_leak_pass() -> None:
    report = check_honesty(CONFIG, planned(trailing_mean), walk(3, 600), INSTRUMENTS, WIDE)
    assert report.clean
    assert report.truncated.decisions > 10


def test_a_leak_of_one_bar_is_said_to_be_of_one_bar() -> None:
    report = check_honesty(CONFIG, planned(next_bar), walk(3, 300), INSTRUMENTS, WIDE, most_cuts=9, most_starts=2)
    assert report.truncated.rows_ahead == 1


@pytest.mark.full
@pytest.mark.parametrize(
    ("make", "params"),
    [
        (BuyHold, {}),
        (SmaCross, {"fast": 3, "slow": 9}),
        (RsiTemaBb, {}),
        (TrendlineBreak, {"breakout_threshold": 0.002}),
        (SmaCross, {"fast": 3, "slow": 9, "order_type": "limit"}),
        (SmaCrossKernel, {"fast": 3, "slow": 9}),
        (RsiTemaBbKernel, {}),
        (TrendlineBreakKernel, {"breakout_threshold": 0.002}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_samples_and_kernels_know_nothing_of_the_future(make: Any, params: dict[str, Any]) -> None:
    timing = FillTiming.NEXT_OPEN if params else FillTiming.BAR_CLOSE
    config = BacktestConfig(ATOM, "clean", 0, 0, 100_000.0, 0.001, 0.0, params=params, fill_timing=timing)
    report = check_honesty(config, make, walk(5, 500), INSTRUMENTS, WIDE, most_cuts=15, most_starts=4)
    assert report.clean, report.lines()
    assert report.truncated.decisions
    assert not report.truncated.failed


def test_a_kernel_of_plain_averages_keeps_to_the_warm_up_it_declares() -> None:
    config = BacktestConfig(ATOM, "clean", 0, 0, 100_000.0, 0.001, 0.0, params={"fast": 5, "slow": 30, "qty": 9.0})
    report = check_honesty(config, SmaCrossKernel, walk(5, 3_000), INSTRUMENTS, WIDE, most_cuts=4, most_starts=30)
    assert report.warm_up.declared == 31
    assert report.warm_up.covered


def test_a_warm_up_that_is_declared_too_short_is_no_leak_but_said() -> None:
    config = BacktestConfig(ATOM, "clean", 0, 0, 100_000.0, 0.001, 0.0, params={"fast": 5, "slow": 30, "qty": 9.0})
    report = check_honesty(
        config, SmaCrossKernel, walk(5, 3_000), INSTRUMENTS, WIDE, most_cuts=4, most_starts=30, warm_up=3
    )
    assert report.clean
    assert report.warm_up.covered is False


def test_several_timeframes_out_of_minutes_do_not_leak() -> None:
    config = BacktestConfig(
        ATOM, "clean", 0, 0, 100_000.0, 0.001, 0.0, params={"fast": 2, "slow": 5}, timeframes=("1m", "5m")
    )
    slow = [Entrant("clean", SmaCross, (ATOM,), config.params, ("md.ohlcv.5m.*",))]
    assert check_honesty(config, slow, walk(6, 600, gap=0.0), INSTRUMENTS, WIDE, most_cuts=12).clean


def test_a_strategy_that_remembers_the_run_before_is_found() -> None:
    class Remembers(StrategyBase):
        strategy_id = "remembers"
        seen: ClassVar[dict[int, float]] = {}

        def on_event(self, event: Any) -> Iterable[OrderIntent | OrderCancel]:
            if not isinstance(event, OHLCVBar):
                return []
            self.seen[event.ts_close] = event.close
            later = self.seen.get(event.ts_close + 60_000_000_000, 0.0)
            return [OrderIntent("planted", event.symbol, "buy", "market", 0.1)] if later > event.close else []

    report = check_honesty(CONFIG, Remembers, walk(3, 200, gap=0.0), INSTRUMENTS, WIDE)
    assert not report.clean
    assert report.truncated.changes[0].manner == "repeated"


def test_the_engine_s_grid_is_that_of_the_whole_data_in_every_part() -> None:
    assert check_honesty(CONFIG, planned(trailing_mean), walk(9, 300), limits=WIDE, most_cuts=8).clean


def test_a_run_on_trades_is_judged_too() -> None:
    rng = np.random.default_rng(2)
    ticks = 1_000 + np.cumsum(rng.integers(-3, 4, 1_500))
    tape = TradeTape(
        tuple(
            TradeEvent(ATOM, round(0.01 * int(price), 2), 1.0, "buy", T0 + 7_000_000_000 * i)
            for i, price in enumerate(ticks)
        )
    )
    config = BacktestConfig(
        ATOM, "clean", 0, 0, 100_000.0, 0.001, 0.0, params={"fast": 3, "slow": 9}, fill_timing=FillTiming.NEXT_TRADE,
        latency_ns=1_000,
    )  # fmt: skip
    report = check_honesty(config, SmaCross, tape, INSTRUMENTS, WIDE, most_cuts=12, most_starts=4)
    assert report.clean, report.lines()
    assert report.truncated.decisions > 10


def test_a_made_up_future_leaves_the_past_alone_and_is_made_of_bars() -> None:
    series = walk(4, 300)
    cut = int(series.ts_close[120])
    (other,) = data_slicing(INSTRUMENTS).disturbed((series,), cut, np.random.default_rng(1))
    assert isinstance(other, BarSeries)
    assert len(other) == len(series)
    for name in ("open", "high", "low", "close", "volume"):
        assert (getattr(other, name)[:121] == getattr(series, name)[:121]).all()
        assert not (getattr(other, name)[121:] == getattr(series, name)[121:]).all()
    assert np.abs(other.close * 100 - np.round(other.close * 100)).max() < 1e-6


def test_later_starts_leave_out_the_bar_that_was_half_over() -> None:
    minutes = walk(4, 120, gap=0.0)
    (fives,) = longer_bars(minutes, ["5m"])
    slicing = data_slicing(INSTRUMENTS)
    first, second = slicing.since((minutes, fives), int(minutes.ts_close[7]))
    assert isinstance(first, BarSeries)
    assert isinstance(second, BarSeries)
    assert int(first.ts_open[0]) == int(minutes.ts_open[7])
    assert int(second.ts_open[0]) == int(minutes.ts_open[10])


def test_the_position_that_an_answer_leads_to_is_written_down() -> None:
    config = BacktestConfig(ATOM, "x", 0, 0, 100_000.0, 0.001, 0.0, params={"fast": 3, "slow": 9, "qty": 2.0})
    targets = [each.target for each in decisions_of(config, SmaCross, (walk(5, 700),), INSTRUMENTS, WIDE)]
    assert set(targets) == {2.0, -2.0}
    assert all(a != b for a, b in pairwise(targets))


# -- the command line ----------------------------------------------------------------------------------------


def build_leaky(data: Data) -> Any:
    """What ``--build`` names in the test below."""
    return planned(next_bar).build(data)


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    series = walk(8, 300, gap=0.0)
    rows = zip(series.ts_close, series.open, series.high, series.low, series.close, series.volume, strict=True)
    file = tmp_path / "bars.csv"
    file.write_text(
        "\n".join(["timestamp,open,high,low,close,volume", *(",".join(map(str, row)) for row in rows)]) + "\n"
    )
    return ["--strategy", "sma_cross_v1", "--symbol", ATOM, "--data", str(file), "--no-risk", "--cuts", "12",
            "--starts", "6"]  # fmt: skip


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_an_honest_strategy_ends_with_0(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    sample = ["--class", "strategies.samples.sma_cross.SmaCross", "--param", "fast=3", "--param", "slow=9"]
    assert main([*command, *sample]) == 0
    printed = capsys.readouterr().out
    assert "No decision depends on what comes after it" in printed
    assert printed.rstrip().endswith("honest")


def test_a_leak_ends_with_4_and_is_named(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--build", "tests.backtest.lookahead.test_backtests.build_leaky"]) == 4
    assert "knew the future" in capsys.readouterr().out


def test_the_report_comes_as_json(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--build", "tests.backtest.lookahead.test_backtests.build_leaky", "--json"]) == 4
    plain = json.loads(capsys.readouterr().out)
    assert plain["clean"] is False
    assert plain["truncated"]["changes"]


def test_a_wrong_path_is_an_error_in_a_sentence(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--build", "nowhere.at_all"]) == 1
    assert "--build: expected the dotted path" in capsys.readouterr().err


def test_the_report_is_written_where_it_is_asked_for(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = ["--class", "strategies.samples.sma_cross.SmaCross", "--param", "fast=3", "--param", "slow=9"]

    assert main([*command, *sample, "--out", str(tmp_path / "out")]) == 0

    path = tmp_path / "out" / "honesty_sma_cross_v1_ATOMUSDT.json"
    assert f"Report saved to:  {path}" in capsys.readouterr().out
    assert json.loads(path.read_text())["clean"] is True


def test_a_page_that_there_is_not_is_refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--report"]) == 1
    assert "--report: expected without it" in capsys.readouterr().err
