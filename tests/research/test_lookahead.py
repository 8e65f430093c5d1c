"""The look-ahead detectors: each kind of leak is planted in a small strategy and found, honest ones pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from core.errors import ContractError
from research.lookahead import Decision, LookaheadReport, find_future_dependence, find_lookahead, find_warm_up
from research.lookahead.cuts import chosen_cuts
from research.lookahead.frames import frame_slicing, run_of_targets

Strategy = Callable[[pd.DataFrame], "pd.Series[float]"]
SLICING = frame_slicing()
MINUTE = 60_000_000_000


def prices(rows: int = 600, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.002, rows)))
    index = pd.date_range("2024-01-01 00:01", periods=rows, freq="1min", tz="UTC")
    return pd.DataFrame({"close": close, "volume": rng.integers(1, 100, rows).astype(float)}, index=index)


def changes_of(targets: pd.Series[float]) -> pd.Series[float]:
    """Only where the target changes, as a strategy sends orders."""
    filled = targets.ffill().fillna(0.0)
    return filled[filled != filled.shift(fill_value=0.0)]


def honest(frame: pd.DataFrame) -> pd.Series[float]:
    fast, slow = frame.close.rolling(5).mean(), frame.close.rolling(20).mean()
    return changes_of((fast > slow).astype(float).where(slow.notna()))


def next_bar(frame: pd.DataFrame) -> pd.Series[float]:
    return changes_of((frame.close.shift(-1) > frame.close).astype(float))


def now_and_then_next_bar(frame: pd.DataFrame) -> pd.Series[float]:
    signal = (frame.close > frame.close.rolling(60).max().shift()) & (frame.close.shift(-1) > frame.close)
    return changes_of(signal.astype(float))


def whole_sample_mean(frame: pd.DataFrame) -> pd.Series[float]:
    score = (frame.close - frame.close.mean()) / frame.close.std()
    return changes_of(np.sign(score))


def hourly_labelled_left(frame: pd.DataFrame) -> pd.Series[float]:
    hourly = frame.close.resample("1h", label="left").last()
    return changes_of((frame.close < hourly.reindex(frame.index, method="ffill")).astype(float))


def hourly_labelled_right(frame: pd.DataFrame) -> pd.Series[float]:
    hourly = frame.close.resample("1h", label="right", closed="right").last()
    known = hourly[hourly.index <= frame.index[-1]]
    return changes_of((frame.close < known.reindex(frame.index, method="ffill")).astype(float))


def merged_with_the_future(frame: pd.DataFrame) -> pd.Series[float]:
    every = frame.close.iloc[::15].rename("later").to_frame()
    joined = pd.merge_asof(frame, every, left_index=True, right_index=True, direction="forward")
    return changes_of((joined.later > joined.close).astype(float))


def filled_backwards(frame: pd.DataFrame) -> pd.Series[float]:
    coarse = frame.close.where(np.arange(len(frame)) % 30 == 29).bfill()
    return changes_of((coarse > frame.close).astype(float))


def centred_window(frame: pd.DataFrame) -> pd.Series[float]:
    return changes_of((frame.close > frame.close.rolling(21, center=True).mean()).astype(float))


LEAKS: list[tuple[Strategy, int, int]] = [  # how far ahead, in rows
    (next_bar, 1, 1),
    (now_and_then_next_bar, 1, 1),
    (whole_sample_mean, 1, 600),
    (hourly_labelled_left, 1, 60),
    (merged_with_the_future, 1, 14),
    (filled_backwards, 1, 29),
    (centred_window, 1, 10),
]


def search(strategy: Strategy) -> LookaheadReport:
    return find_lookahead(run_of_targets(strategy, "ATOM"), prices(), SLICING)


@pytest.mark.parametrize(("strategy", "least", "most"), LEAKS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_leak_is_found_by_cutting_the_data(strategy: Strategy, least: int, most: int) -> None:
    found = search(strategy)
    assert not found.clean
    assert least <= found.rows_ahead <= most
    change = found.changes[0]
    assert change.symbol == "ATOM"
    assert change.with_future != change.without_future
    assert change.ts_ns <= change.cut_ns
    assert "knew the future" in found.lines()[0]


@pytest.mark.parametrize("strategy", [leak[0] for leak in LEAKS], ids=lambda value: value.__name__)
def test_a_leak_is_found_by_changing_the_future(strategy: Strategy) -> None:
    found = find_future_dependence(run_of_targets(strategy), prices(), SLICING, np.random.default_rng(1), most_cuts=12)
    assert not found.clean
    assert {change.manner for change in found.changes} == {"disturbed"}


@pytest.mark.parametrize("strategy", [honest, hourly_labelled_right], ids=lambda value: value.__name__)
def test_honest_strategies_pass(strategy: Strategy) -> None:
    found = search(strategy)
    assert found.clean
    assert found.decisions > 10
    assert found.cuts == 40
    other = find_future_dependence(run_of_targets(strategy), prices(), SLICING, np.random.default_rng(1))
    assert other.clean
    assert "No decision depends" in other.lines()[0]


def test_a_glimpse_that_is_made_do_without_is_only_found_by_another_future() -> None:
    def crafty(frame: pd.DataFrame) -> pd.Series[float]:
        if len(frame) < 600:  # as on the day it was tried out
            return honest(frame)
        return changes_of(honest(frame).reindex(frame.index).ffill() * (frame.close.shift(-1) > frame.close))

    def calm(frame: pd.DataFrame) -> pd.Series[float]:
        ahead = frame.close.shift(-1).fillna(frame.close)
        return changes_of((frame.close.rolling(9).mean() > ahead).astype(float))

    assert not find_future_dependence(run_of_targets(crafty), prices(), SLICING, np.random.default_rng(1)).clean
    assert not find_future_dependence(run_of_targets(calm), prices(), SLICING, np.random.default_rng(1)).clean


def test_the_decision_is_named_with_what_it_was_and_what_it_would_have_been() -> None:
    frame = prices(50)
    ahead = frame.close.shift(-1) > frame.close
    cut = frame.index[20] if ahead.iloc[20] else frame.index[int(np.flatnonzero(ahead)[5])]

    found = find_lookahead(
        run_of_targets(lambda f: (f.close.shift(-1) > f.close).astype(float), "ATOM"), frame, SLICING,
        cuts=[cut.value],
    )  # fmt: skip

    (change,) = found.changes
    assert (change.ts_ns, change.symbol, change.with_future, change.without_future) == (
        cut.value, "ATOM", "hold 1", "hold 0",
    )  # fmt: skip
    assert change.rows_ahead == 1
    assert change.needs_ns == cut.value + MINUTE
    assert "hold 1; without the data after" in str(change)


def test_a_strategy_that_draws_chance_is_told_from_one_that_looks_ahead() -> None:
    rng = np.random.default_rng(3)
    found = find_lookahead(
        run_of_targets(lambda frame: changes_of(pd.Series(rng.random(len(frame)).round(), frame.index))),
        prices(),
        SLICING,
    )
    assert not found.clean
    assert "draws chance" in found.lines()[0]
    assert found.changes[0].manner == "repeated"


def test_failures_on_cut_data_are_shown_and_prove_nothing_unless_all_fail() -> None:
    def needs(rows: int) -> Strategy:
        def strategy(frame: pd.DataFrame) -> pd.Series[float]:
            if len(frame) < rows:
                raise ValueError("too few rows")
            return honest(frame)

        return strategy

    some = search(needs(100))
    assert some.clean
    assert some.failed
    assert "too few rows" in "\n".join(some.lines())
    every = search(needs(600))
    assert not every.clean
    assert "Nothing could be checked" in every.lines()[0]


def test_a_strategy_that_never_decides_is_clean() -> None:
    found = search(lambda frame: pd.Series(dtype=float, index=frame.index[:0]))
    assert (found.clean, found.decisions) == (True, 0)


def test_cuts_fall_on_decisions_first_and_on_the_rest_of_the_data_then() -> None:
    times = np.arange(1_000, dtype=np.int64)
    cuts = chosen_cuts(times, [100, 400, 900], 20)
    assert {100, 400, 900} <= set(cuts)
    assert {99, 901} <= set(cuts)
    assert len(cuts) == 20
    assert max(cuts) < 999
    assert chosen_cuts(times, [], 5)
    assert chosen_cuts(times[:1], [0], 5) == []
    with pytest.raises(ContractError, match="most_cuts"):
        chosen_cuts(times, [], 0)


def test_cuts_between_rows_belong_to_the_row_before() -> None:
    times = np.arange(0, 10_000, 10, dtype=np.int64)
    assert 100 in chosen_cuts(times, [101], 4)


# -- warm-up ---------------------------------------------------------------------------------------------------


def crossing(make: Callable[[pd.Series[float]], pd.Series[float]], known_after: int) -> Strategy:
    def strategy(frame: pd.DataFrame) -> pd.Series[float]:
        line = make(frame.close)
        target = (frame.close > line).astype(float)
        target.iloc[: known_after - 1] = np.nan
        return changes_of(target)

    return strategy


def test_the_warm_up_of_a_plain_average_is_its_window() -> None:
    strategy = crossing(lambda close: close.rolling(20).mean(), 20)
    found = find_warm_up(run_of_targets(strategy), prices(3_000), SLICING, declared=20, most_starts=60)
    assert found.covered
    assert found.settled is not None
    assert 10 <= found.settled <= 20
    assert not found.never


def test_an_exponential_average_takes_longer_than_its_period() -> None:
    strategy = crossing(lambda close: close.ewm(span=50, adjust=False).mean(), 50)
    found = find_warm_up(run_of_targets(strategy), prices(4_000), SLICING, declared=50, most_starts=60)
    assert found.covered is False
    assert found.settled is not None
    assert 50 < found.settled < 500
    assert "too short" in "\n".join(found.lines())


def test_what_counts_from_the_first_row_on_never_settles() -> None:
    strategy = crossing(lambda close: close.expanding().mean(), 1)
    found = find_warm_up(run_of_targets(strategy), prices(2_000), SLICING, declared=100)
    assert found.never
    assert found.covered is False
    assert "where the data began" in "\n".join(found.lines())


def test_without_a_declaration_the_count_is_told_and_not_judged() -> None:
    strategy = crossing(lambda close: close.rolling(10).mean(), 10)
    found = find_warm_up(run_of_targets(strategy), prices(1_000), SLICING)
    assert found.covered is None
    assert "none is declared" in found.lines()[0]


def test_too_few_decisions_say_nothing_about_warm_up() -> None:
    found = find_warm_up(
        lambda frame: [Decision(frame.index[0].value, "ATOM", "buy", (1.0,), 1.0)], prices(), SLICING, declared=3
    )
    assert found.covered is None
    assert "Too few decisions" in found.lines()[0]
