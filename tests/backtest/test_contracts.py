"""What goes into a backtest and comes out: immutable, checked, and the same after a turn through JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from backtest.contracts import BacktestConfig, BacktestResult, FillTiming, RoundTrip
from core.errors import ConfigError
from tests.support.backtests.runs import ATOM, CONFIG, closes, market, result_of


def test_contracts_cannot_be_changed() -> None:
    result = result_of({}, closes([10.0]))

    for contract, name in ((CONFIG, "symbol"), (result, "final_capital"), (result.fingerprints, "data")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(contract, name, "other")


def test_a_result_is_the_same_after_a_turn_through_json() -> None:
    result = result_of(
        {0: market("buy", 3.0), 2: market("sell", 2.0)}, closes([10.0, 11.0, 12.0, 9.0]), timeframes=("1m",)
    )

    assert len(result.round_trips) == 2
    assert BacktestResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_the_equity_curve_is_json_of_pairs() -> None:
    plain = json.loads(json.dumps(result_of({}, closes([10.0, 11.0])).to_dict()))

    assert [capital for _, capital in plain["equity_curve"]] == [10_000.0, 10_000.0]


def test_the_specifications_seven_values_make_a_configuration() -> None:
    config = BacktestConfig(ATOM, "s", 0, 10, 1_000.0, 0.001, 5.0)

    assert (config.fill_timing, config.traded, config.risk) == (FillTiming.BAR_CLOSE, (ATOM,), True)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"initial_capital": 0.0}, "initial_capital: expected a number above 0, got 0.0"),
        ({"commission_rate": 0.5}, "commission_rate: expected -0.05 to 0.05, got 0.5"),
        ({"slippage_bps": -1.0}, "slippage_bps: expected 0 to 10,000, got -1.0"),
        ({"latency_ns": -1}, "latency_ns: expected at least 0, got -1"),
        ({"start_ts": 5, "end_ts": 5}, "end_ts: expected a time after start_ts, or 0, got 5"),
        ({"timeframes": ()}, "timeframes: expected at least one"),
        ({"initial_capital": float("nan")}, "initial_capital: expected a number above 0, got nan"),
        ({"maker_rate": 5.0}, "maker_rate: expected -0.05 to 0.05, got 5.0"),
        ({"maker_rate": float("nan")}, "maker_rate: expected -0.05 to 0.05, got nan"),
    ],
)
def test_values_that_no_run_can_have_are_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        dataclasses.replace(CONFIG, **changes)


def test_a_round_trips_return_is_what_it_brought_on_what_was_put_in() -> None:
    trip = RoundTrip(ATOM, "buy", 2.0, 1, 2, 10.0, 11.0, pnl=1.5, fees=0.5)

    assert trip.return_pct == 7.5


def test_round_trips_pair_first_in_first_out_and_share_fees_to_the_last_unit() -> None:
    script = {0: market("buy", 1.0), 1: market("buy", 2.0), 2: market("sell", 2.5), 3: market("sell", 1.0)}
    result = result_of(script, closes([10.0, 11.0, 13.0, 12.0, 14.0]))

    assert [(t.side, t.qty, t.price_open, t.price_close, t.is_open) for t in result.round_trips] == [
        ("buy", 1.0, 10.0, 13.0, False),
        ("buy", 1.5, 11.0, 13.0, False),
        ("buy", 0.5, 11.0, 12.0, False),
        ("sell", 0.5, 12.0, 14.0, True),
    ]
    assert sum(trip.fees for trip in result.round_trips) == pytest.approx(sum(fill["fee"] for fill in result.fills))
    assert result.initial_capital + sum(t.pnl for t in result.round_trips) == pytest.approx(result.final_capital)


def test_the_worst_and_the_best_on_the_way_are_those_of_the_bars_within() -> None:
    result = result_of({1: market("buy", 2.0), 4: market("sell", 2.0)}, closes([5.0, 10.0, 8.0, 15.0, 12.0, 99.0]))

    (trip,) = result.round_trips
    assert (trip.mae, trip.mfe) == (-4.0, 10.0)
