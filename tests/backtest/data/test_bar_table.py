"""Bars out of other people's tables: every way to write a time, and a sentence for what cannot be understood."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backtest.data.price_grid import PriceGrid, derived_instrument
from backtest.data.series import BarSeries, from_file, from_frame
from core.clock import NS_PER_MINUTE
from core.errors import ConfigError, ContractError
from core.instruments import Instrument

SYMBOL = "ATOM/USDT"
T0_S = 1_704_067_200  # 2024-01-01 00:00:00 UTC
COUNT = 12


def frame(**changes: Any) -> pd.DataFrame:
    """Minutes from midnight, stamped with their close in seconds."""
    closes = np.arange(COUNT) * 0.01 + 10.0
    return pd.DataFrame(
        {
            "timestamp": T0_S + 60 * (1 + np.arange(COUNT)),
            "open": closes,
            "high": closes + 0.05,
            "low": closes - 0.05,
            "close": closes,
            "volume": np.full(COUNT, 2.5),
            **changes,
        }
    )


def refused(table: pd.DataFrame, timeframe: str = "1m") -> str:
    with pytest.raises(ConfigError) as error:
        from_frame(table, SYMBOL, timeframe)
    return str(error.value)


def first_open(series: BarSeries) -> int:
    return int(series.ts_open[0])


SECONDS = T0_S + 60 * (1 + np.arange(COUNT))
STAMPS = pd.to_datetime(SECONDS, unit="s")


@pytest.mark.parametrize(
    "times",
    [
        SECONDS,
        SECONDS * 1_000,
        SECONDS * 1_000_000,
        SECONDS * 1_000_000_000,
        SECONDS.astype(float),
        SECONDS * 1e3,
        STAMPS,
        STAMPS.astype(str),
        STAMPS.tz_localize("UTC").tz_convert("Asia/Tokyo"),
        STAMPS.tz_localize("UTC").tz_convert("Asia/Tokyo").astype(str),
        STAMPS.strftime("%Y-%m-%dT%H:%M:%SZ"),
    ],
    ids=["s", "ms", "us", "ns", "float-s", "float-ms", "naive", "naive-text", "zone", "zone-text", "iso-z"],
)
def test_a_time_is_the_same_however_it_is_written(times: Any) -> None:
    series = from_frame(frame(timestamp=times), SYMBOL, "1m")

    assert first_open(series) == T0_S * 10**9
    assert series.gaps == 0


def test_a_table_that_is_newest_first_is_turned_round() -> None:
    series = from_frame(frame().iloc[::-1], SYMBOL, "1m")

    assert series.checksum == from_frame(frame(), SYMBOL, "1m").checksum


def test_an_index_of_times_is_the_time_column() -> None:
    table = frame(timestamp=STAMPS).set_index("timestamp")

    assert first_open(from_frame(table, SYMBOL, "1m")) == T0_S * 10**9


@pytest.mark.parametrize("name", ["date", "ts_open", "open_time"])
def test_columns_that_say_so_are_the_start_of_the_bar(name: str) -> None:
    series = from_frame(frame().rename(columns={"timestamp": name}), SYMBOL, "1m")

    assert first_open(series) == T0_S * 10**9 + NS_PER_MINUTE


@pytest.mark.parametrize(
    ("times", "named"),
    [
        (["01/02/2024 00:01"] * COUNT, "row 0: expected a time in ISO 8601"),
        ([*STAMPS[:5].astype(str), "soon", *STAMPS[6:].astype(str)], "row 5: expected a time in ISO 8601"),
        ([*STAMPS[:7], None, *STAMPS[8:]], "row 7: expected a time, got none"),
        ([*SECONDS[:3], *(SECONDS[3:] * 1_000)], "row 3: expected one unit of time"),
        (20_240_101 + np.arange(COUNT), "write days as 2024-01-31"),
    ],
    ids=["two-days", "garbage", "none", "two-units", "yyyymmdd"],
)
def test_a_time_that_could_be_another_is_refused_with_its_row(times: Any, named: str) -> None:
    assert named in refused(frame(timestamp=times))


@pytest.mark.parametrize(("column", "value"), [("close", "abc"), ("volume", "1,000")])
def test_text_among_numbers_is_refused_with_its_column_and_row(column: str, value: str) -> None:
    table = frame()
    table[column] = table[column].astype(object)
    table.loc[4, column] = value

    assert f"column {column}, row 4: expected a number, got {value!r}" in refused(table)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("close", np.nan, "four prices above 0"),
        ("close", np.inf, "four prices above 0"),
        ("close", 0.0, "four prices above 0"),
        ("low", 11.0, "low <= open and close"),
        ("high", 9.0, "high >= open and close"),
        ("volume", np.inf, "volume >= 0"),
        ("volume", -1.0, "volume >= 0"),
        ("volume", np.nan, "volume >= 0"),
    ],
)
def test_a_bar_that_is_none_is_named_with_what_is_wrong(column: str, value: float, expected: str) -> None:
    table = frame()
    table.loc[4, column] = value

    said = refused(table)

    assert f"bar 4 (the first one is 0): expected {expected}" in said
    assert "2024-01-01 00:04:00 to 2024-01-01 00:05:00" in said


def test_bars_out_of_order_are_refused_with_the_bar_before() -> None:
    said = refused(pd.concat([frame().iloc[:5], frame().iloc[4:]]))

    assert "bar 5 (the first one is 0): expected bars in order of time, each once" in said
    assert "the bar before it ends 2024-01-01 00:05:00" in said


@pytest.mark.parametrize("timeframe", ["5m", "1s"])
def test_bars_of_another_timeframe_are_refused(timeframe: str) -> None:
    assert f"expected bars of {timeframe}, got bars that are 60 s apart" in refused(frame(), timeframe)


def test_bars_with_gaps_are_bars_all_the_same() -> None:
    sparse = frame().iloc[[0, 2, 4, 7, 9, 11]]

    assert from_frame(sparse, SYMBOL, "1m").gaps == 5


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("binary.csv", b"\xd3\x00\xff" * 50),
        ("cut.csv.gz", b"\x1f\x8b\x08\x00"),
        ("broken.parquet", b"PAR1"),
        ("broken.feather", b"no"),
        ("table.xlsx", b"x"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_its_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ConfigError, match=name):
        from_file(tmp_path / name, SYMBOL, "1m")


def test_files_of_every_kind_hold_the_same_bars(tmp_path: Path) -> None:
    table = frame(timestamp=STAMPS)
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_csv(tmp_path / "a.csv.gz", index=False)
    table.to_feather(tmp_path / "a.feather")
    table.to_parquet(tmp_path / "a.parquet")

    sums = {from_file(path, SYMBOL, "1m").checksum for path in sorted(tmp_path.iterdir())}

    assert len(sums) == 1


def test_a_handful_of_prices_tells_no_coarse_step() -> None:
    table = frame(**dict.fromkeys(("open", "high", "low", "close"), 55.5))

    assert derived_instrument([from_frame(table, SYMBOL, "1m")]).tick_size == Decimal("0.1")


def test_bars_without_volume_tell_no_lot() -> None:
    series = from_frame(frame(volume=0.0), SYMBOL, "1m")

    assert derived_instrument([series]).lot_size == Decimal("0.00000001")


def test_a_few_stray_prices_do_not_condemn_a_short_series() -> None:
    count = 300
    closes = np.full(count, 10.0)
    closes[200:204] = 10.005
    shape = dict.fromkeys(("open", "high", "low", "close"), closes)
    table = pd.DataFrame({"date": T0_S + 60 * np.arange(count), **shape, "volume": 1.0})

    grid = PriceGrid(from_frame(table, SYMBOL, "1m"), Instrument(SYMBOL, Decimal("0.01"), Decimal(1)))

    assert grid.off_grid == 16


def test_a_time_without_bars_is_answered_with_the_time_there_is() -> None:
    series = from_frame(frame(), SYMBOL, "1m")

    with pytest.raises(ConfigError, match="got bars from 2024-01-01 00:00:00 to 2024-01-01 00:12:00 only"):
        series.between(2 * T0_S * 10**9, 0)


@pytest.mark.parametrize(
    ("low", "tick"),
    [(1e-7, "1E-7"), (3.21e-7, "1E-9"), (1.5e-9, "1E-10"), (1.234e-11, "1E-14"), (1.0000004, "1E-7"), (46_224.0, "1")],
)
def test_the_grid_of_small_prices_is_as_fine_as_they_are(low: float, tick: str) -> None:
    table = frame(open=low, high=low * 2, low=low, close=low)
    if low > 1:
        table["high"] = low

    series = from_frame(table, SYMBOL, "1m")

    assert derived_instrument([series]).tick_size == Decimal(tick)
    assert PriceGrid(series, derived_instrument([series])).off_grid == 0


def test_prices_on_no_grid_are_refused_with_what_to_give() -> None:
    noise = 1.0 + np.random.default_rng(1).random(COUNT)

    series = from_frame(frame(open=noise, high=noise, low=noise, close=noise), SYMBOL, "1m")

    with pytest.raises(ConfigError, match=r"lie on no grid of up to 10 decimals; give --tick-size and --lot-size"):
        derived_instrument([series])


@pytest.mark.parametrize("qty", [2.9, 0.5, 1.0001])
def test_a_quantity_is_not_cut_to_a_lot_that_was_guessed(qty: float) -> None:
    guessed = derived_instrument([from_frame(frame(volume=25_000.0), SYMBOL, "1m")])

    with pytest.raises(ContractError, match=rf"lots of 1, got {qty}; .* a guess from the volumes .* --lot-size"):
        guessed.floor_qty(qty)
    assert guessed.floor_qty(3.0) == 3.0


def test_the_last_digits_of_a_computed_quantity_may_go() -> None:
    guessed = derived_instrument([from_frame(frame(volume=0.0), SYMBOL, "1m")])

    assert guessed.floor_qty(1 / 3) == 0.33333333


def test_a_lot_that_was_given_is_one_to_round_to() -> None:
    series = from_frame(frame(volume=25_000.0), SYMBOL, "1m")

    assert derived_instrument([series], lot_size=Decimal("0.5")).floor_qty(2.9) == 2.5


def test_a_volume_beyond_64_bits_of_lots_is_counted_exactly() -> None:
    series = from_frame(frame(volume=1e13), SYMBOL, "1m")

    assert PriceGrid(series, Instrument(SYMBOL, Decimal("0.01"), Decimal("1e-8"))).bar(0).volume == 10**21


@pytest.mark.parametrize("name", ["date", "datetime", "time", "timestamp"])
def test_a_column_that_leaves_open_which_end_it_means_is_recorded_as_a_guess(name: str) -> None:
    guess = from_frame(frame().rename(columns={"timestamp": name}), SYMBOL, "1m").stamp_guess

    assert guess == (name, "open" if name == "date" else "close")


@pytest.mark.parametrize(
    ("name", "stamp"), [("ts_open", "auto"), ("close_time", "auto"), ("date", "close"), ("timestamp", "open")]
)
def test_what_the_name_or_the_caller_says_is_no_guess(name: str, stamp: str) -> None:
    series = from_frame(frame().rename(columns={"timestamp": name}), SYMBOL, "1m", stamp=stamp)

    assert series.stamp_guess is None
    assert series.rows(0, 2).stamp_guess is None


def test_a_column_that_says_what_it_means_comes_before_one_that_does_not() -> None:
    table = frame(open_time=SECONDS, date=SECONDS + 7)

    assert first_open(from_frame(table, SYMBOL, "1m")) == T0_S * 10**9 + NS_PER_MINUTE


@pytest.mark.parametrize(("unit", "last"), [(1, 1), (1_000, 1), (1_000_000, 1)], ids=["s", "ms", "us"])
def test_a_close_written_as_the_last_instant_of_its_bar_is_the_end_of_the_bar(unit: int, last: int) -> None:
    series = from_frame(frame(timestamp=SECONDS * unit - last), SYMBOL, "1m")
    assert first_open(series) == T0_S * 10**9
    assert (np.diff(series.ts_close) == NS_PER_MINUTE).all()


def test_closes_beside_the_boundary_by_anything_else_stay_as_they_are() -> None:
    series = from_frame(frame(timestamp=SECONDS * 1_000 - 250), SYMBOL, "1m")
    assert first_open(series) == T0_S * 10**9 - 250 * 10**6


def test_a_table_of_several_symbols_is_no_series() -> None:
    names = ["ATOM/USDT"] * (COUNT - 1) + ["BTC/USDT"]
    message = refused(frame(Symbol=names))
    assert message.startswith(
        "ATOM/USDT, column Symbol: expected the bars of one symbol, got those of 2: ATOM/USDT, BTC"
    )
    assert len(from_frame(frame(symbol="ATOMUSDT"), SYMBOL, "1m")) == COUNT


def test_rows_with_more_fields_than_the_header_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "bars.csv"
    header, *rows = frame().to_csv(index=False).splitlines()
    table.write_text("\n".join([header, *(f"{row}," for row in rows)]))
    with pytest.raises(ConfigError, match=r"bars\.csv: expected as many fields in a row as in the header, got more"):
        from_file(table, SYMBOL, "1m")
