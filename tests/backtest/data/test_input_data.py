"""What a run does with its input before it begins: files that disagree are refused, longer bars are complete."""

from __future__ import annotations

import pytest

from backtest.contracts import BacktestConfig
from backtest.data.input_data import prepared
from backtest.data.series import BarSeries, from_frame
from backtest.data.trade_tape import longer_bars
from core.clock import NS_PER_MINUTE
from core.errors import ConfigError
from tests.backtest.data.test_bar_table import SYMBOL, frame


def config(*symbols: str) -> BacktestConfig:
    return BacktestConfig(symbols[0], "buy_hold_v1", 0, 0, 1_000.0, 0.0, 0.0, symbols=symbols)


def table_bars(symbol: str, column: str, stamp: str = "auto") -> BarSeries:
    return from_frame(frame().rename(columns={"timestamp": column}), symbol, "1m", stamp=stamp)


def test_files_whose_times_would_be_taken_for_different_ends_of_a_bar_are_refused() -> None:
    data = [table_bars("A/USD", "date"), table_bars("B/USD", "timestamp")]

    with pytest.raises(ConfigError) as error:
        prepared(config("A/USD", "B/USD"), data)

    assert "A/USD: column date, taken for the open of the bar; B/USD: column timestamp, taken for the close" in str(
        error.value
    )
    assert "--stamp open or --stamp close" in str(error.value)


@pytest.mark.parametrize(
    "data",
    [
        [table_bars("A/USD", "date"), table_bars("B/USD", "date")],
        [table_bars("A/USD", "date"), table_bars("B/USD", "ts_close")],
        [table_bars("A/USD", "date", "close"), table_bars("B/USD", "timestamp", "close")],
        [table_bars("A/USD", "date"), table_bars("B/USD", "timestamp", "close")],
    ],
    ids=["same guess", "a name that says it", "told for both", "told for one"],
)
def test_files_that_agree_or_say_what_they_mean_run(data: list[BarSeries]) -> None:
    _, series = prepared(config("A/USD", "B/USD"), data)

    assert [bars.symbol for bars in series] == ["A/USD", "B/USD"]


@pytest.mark.parametrize("missing", [0, 2, 4])
def test_a_window_of_which_a_minute_is_missing_has_its_bar_at_its_end(missing: int) -> None:
    minutes = from_frame(frame().drop(index=missing), SYMBOL, "1m")

    (fives,) = longer_bars(minutes, ["5m"])

    assert [(close - fives.ts_open[0]) // NS_PER_MINUTE for close in fives.ts_close.tolist()] == [5, 10]
    assert fives.close[0] == minutes.close[3]
    assert fives.volume[0] == 10.0


def test_a_window_that_the_data_may_not_have_to_its_end_has_no_bar() -> None:
    (fives,) = longer_bars(from_frame(frame().iloc[:9], SYMBOL, "1m"), ["5m"])

    assert len(fives) == 1
