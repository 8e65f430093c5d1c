"""The event engine: order of events, what strategies see and when, determinism, failures, risk on bar time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backtest.contracts import BacktestConfig, FillTiming
from backtest.data.series import BarSeries, from_file
from backtest.data.trade_tape import TradeTape
from backtest.engine import BacktestEngine, run_backtest
from backtest.engine.slots import Entrant
from backtest.errors import EndlessAnswersError, StrategyFailedError
from core.clock import NS_PER_MINUTE, NS_PER_S
from core.contracts import (
    FillEvent,
    OHLCVBar,
    OrderIntent,
    OrderUpdate,
    RiskDecision,
    RiskState,
    TradeEvent,
)
from core.errors import ConfigError
from core.instruments import Instruments
from risk.limits import RiskLimits
from strategies.base import StrategyBase
from strategies.samples.sma_cross import SmaCross
from tests.support.backtests.runs import (
    ATOM,
    BTC,
    CONFIG,
    INSTRUMENTS,
    T0,
    WIDE,
    Scripted,
    at,
    bars,
    closes,
    engine,
    erratic,
    fills_of,
    lines_of,
    market,
    result_of,
    walk,
)

ROOT = Path(__file__).resolve().parents[3]


class Watches(StrategyBase):
    """Writes down every event and the prices it sees with it."""

    strategy_id = "watches"

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.seen: list[tuple[int, str, str, dict[str, float]]] = []

    def on_event(self, event: Any) -> Iterable[OrderIntent]:
        self.seen.append((event.ts_ns, getattr(event, "timeframe", ""), event.symbol, dict(self.context.prices)))
        return ()


def watched(data: list[BarSeries], **changes: Any) -> list[tuple[int, str, str, dict[str, float]]]:
    built: list[Watches] = []

    def make(context: Any) -> Watches:
        built.append(Watches(context))
        return built[-1]

    BacktestEngine(replace(CONFIG, **changes), make, data, INSTRUMENTS, WIDE).run()
    return built[-1].seen


def test_buying_and_holding_earns_what_the_price_does_less_the_fee() -> None:
    result = result_of({0: market("buy", 100.0)}, closes([10.0, 11.0, 12.5]))

    assert result.final_capital == 10_000 + 100 * 2.5 - 1.0
    assert result.num_trades == 0
    (held,) = result.round_trips
    assert (held.is_open, held.pnl, held.ts_close) == (True, 249.0, at(2))


def test_events_come_at_their_close_longer_timeframes_after_shorter_ones_then_by_symbol() -> None:
    minutes, others = closes([10.0] * 10), closes([20.0] * 10, BTC)
    fives = bars([(10.0, 10.0, 10.0, 10.0)] * 2, timeframe="5m", minutes=5)

    seen = watched([fives, others, minutes], symbols=(BTC, ATOM))

    assert [(ts, frame, symbol) for ts, frame, symbol, _ in seen if ts == at(4)] == [
        (at(4), "1m", ATOM),
        (at(4), "1m", BTC),
        (at(4), "5m", ATOM),
    ]
    assert [ts for ts, *_ in seen] == sorted(ts for ts, *_ in seen)


def test_a_strategy_sees_the_prices_of_now_and_of_every_symbol_that_closes_now() -> None:
    seen = watched([closes([10.0, 11.0]), closes([20.0, 21.0], BTC)], symbols=(ATOM, BTC))

    assert [prices for *_, prices in seen] == [{ATOM: 10.0, BTC: 20.0}] * 2 + [{ATOM: 11.0, BTC: 21.0}] * 2


def test_longer_bars_are_made_out_of_minutes_when_they_are_not_given() -> None:
    minutes = walk(5, 60, gap=0.0)
    seen = watched([minutes], timeframes=("1m", "5m"))

    made = [ts for ts, frame, *_ in seen if frame == "5m"]
    assert made
    assert all(ts % (5 * NS_PER_MINUTE) == 0 for ts in made)


def test_the_order_of_registration_of_symbols_strategies_and_series_changes_nothing() -> None:
    data = [walk(3, 120, ATOM), walk(3, 120, BTC), walk(3, 24, ATOM, minutes=5)]
    entrants = erratic(("a", "b", "c"), (ATOM, BTC), 3, 0.2)
    config = replace(CONFIG, symbols=(ATOM, BTC))
    one = BacktestEngine(config, entrants, data, INSTRUMENTS, WIDE)
    other = BacktestEngine(config, entrants[::-1], data[::-1], Instruments([*INSTRUMENTS.values()][::-1]), WIDE)

    assert one.run() == other.run()
    assert lines_of(one) == lines_of(other)
    assert any(isinstance(message, FillEvent) for message in one.event_log)


def test_the_same_run_twice_is_the_same_bytes() -> None:
    run = BacktestEngine(CONFIG, erratic(("a",), (ATOM,), 1, 0.3), walk(1, 200), INSTRUMENTS, WIDE)

    first, lines = run.run(), lines_of(run)

    assert run.run() == first
    assert lines_of(run) == lines


PROGRAM = """
from tests.support.backtests.runs import *
run = BacktestEngine(replace(CONFIG, symbols=(ATOM, BTC)), erratic(("b", "a"), (ATOM, BTC), 4, 0.3),
                     [walk(4, 150, ATOM), walk(4, 150, BTC)], INSTRUMENTS, WIDE)
result = run.run()
print(replace(result.fingerprints, code=""), len(run.event_log), result.final_capital)
"""


def test_neither_process_nor_hash_seed_changes_a_result() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
            text=True,
            cwd=ROOT,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(outputs) == 1
    assert "Fingerprints(data='" in outputs.pop()


def test_each_fingerprint_changes_with_what_it_is_of_and_with_nothing_else() -> None:
    data = closes([10.0, 11.0, 12.0])
    base = result_of({0: market("buy")}, data).fingerprints
    richer = result_of({0: market("buy")}, data, initial_capital=20_000.0).fingerprints
    capped = result_of({0: market("buy")}, data, limits=replace(WIDE, orders_per_min_cap=7)).fingerprints
    later = result_of({1: market("buy")}, data).fingerprints
    dearer = result_of({0: market("buy")}, closes([10.0, 11.0, 13.0])).fingerprints

    assert (richer.data, richer.code, richer.orders) == (base.data, base.code, base.orders)
    assert richer.config != base.config != capped.config
    assert (later.data, later.config, later.code) == (base.data, base.config, base.code)
    assert later.orders != base.orders
    assert dearer.data != base.data
    assert (dearer.config, dearer.orders) == (base.config, base.orders)


def test_private_events_reach_their_owner_in_order_and_nobody_else() -> None:
    built: dict[str, Scripted] = {}

    def make(context: Any) -> Scripted:
        script = {0: market("buy", 2.0)} if context.strategy_id == "buyer" else {}
        built[context.strategy_id] = Scripted(context, script)
        return built[context.strategy_id]

    entrants = [Entrant(name, make, (ATOM,)) for name in ("buyer", "idler")]
    BacktestEngine(CONFIG, entrants, closes([10.0, 11.0]), INSTRUMENTS, WIDE).run()

    assert [type(event) for event in built["buyer"].told] == [RiskDecision, OrderUpdate, FillEvent, OrderUpdate]
    assert built["idler"].told == []
    position = built["buyer"].context.positions[ATOM]
    assert (position.qty, position.avg_price) == (2.0, 10.0)
    assert built["idler"].context.positions[ATOM].qty == 0.0


def test_an_exception_ends_the_run_and_says_who_where_and_when() -> None:
    def fails(strategy: Scripted, bar: OHLCVBar) -> Any:
        raise ZeroDivisionError("no price")

    with pytest.raises(
        StrategyFailedError, match=f"strategy scripted failed on OHLCVBar at {at(1)}: ZeroDivisionError"
    ):
        result_of({1: fails}, closes([10.0, 11.0]))


def test_strategies_that_answer_their_own_denials_for_ever_are_stopped() -> None:
    class Insists(StrategyBase):
        strategy_id = "insists"

        def on_event(self, event: Any) -> Iterable[OrderIntent]:
            if isinstance(event, OHLCVBar) or (isinstance(event, RiskDecision) and not event.allowed):
                yield OrderIntent(self.strategy_id, ATOM, "buy", "market", 1.0)

    limits = replace(WIDE, per_order_usd_cap=1.0)
    with pytest.raises(EndlessAnswersError, match="more than 10000 messages"):
        BacktestEngine(CONFIG, Insists, closes([10.0]), INSTRUMENTS, limits).run()


def test_a_strategy_may_answer_with_a_generator() -> None:
    class Yields(StrategyBase):
        strategy_id = "yields"

        def on_event(self, event: Any) -> Iterable[OrderIntent]:
            if isinstance(event, OHLCVBar) and event.close == 11.0:
                yield OrderIntent(self.strategy_id, ATOM, "buy", "market", 1.0)

    result = BacktestEngine(CONFIG, Yields, closes([10.0, 11.0, 12.0]), INSTRUMENTS, WIDE).run()

    assert fills_of(result) == [(2, "buy", 1.0, 11.0)]


# -- risk on bar time -----------------------------------------------------------------------------------------


def test_the_risk_engine_denies_with_its_codes() -> None:
    result = result_of({0: market("buy", 10.0)}, closes([10.0, 11.0]), limits=replace(WIDE, per_order_usd_cap=50.0))

    assert (result.denied, result.refused, result.fills) == (1, {"PER_ORDER_CAP": 1}, ())


def test_the_days_loss_restricts_at_the_very_bar_that_reaches_it_until_midnight() -> None:
    prices = [10.0, 9.9, 9.8, 9.7, 9.6]
    script = {0: market("buy", 10.0), 3: market("buy", 1.0), 4: market("sell", 10.0)}
    run = engine(script, closes(prices), commission_rate=0.0, limits=replace(WIDE, daily_loss_usd_cap=2.0))

    result = run.run()

    assert [state.ts_ns for state in run.event_log if isinstance(state, RiskState)] == [at(2)]
    assert result.refused == {"DAILY_LOSS_CAP": 1}
    assert [side for _, side, *_ in fills_of(result)] == ["buy", "sell"]  # what reduces passes


def test_a_day_that_opens_on_a_held_position_starts_its_loss_anew() -> None:
    count = 24 * 60 + 2
    prices = [10.0] + [9.9] * (count - 2) + [9.8]
    run = engine({0: market("buy", 10.0)}, closes(prices), limits=replace(WIDE, daily_loss_usd_cap=1.5))
    run.run()

    assert [state.reason.split(":")[0] for state in run.event_log if isinstance(state, RiskState)] == [
        "day 2024-01-02 opens"
    ]


def test_an_order_on_a_price_older_than_the_limit_is_denied() -> None:
    late = bars([(10.0, 10.0, 10.0, 10.0)] * 3, BTC)
    early = closes([5.0])
    script = {3: market("buy", 1.0)}  # the third bar of BTC, two minutes after the only one of ATOM

    result = result_of(script, [early, late], symbols=(ATOM, BTC), limits=replace(WIDE, max_price_age_ms=60_000.0))

    assert result.refused == {"STALE_PRICE": 1}


# -- trades as input ------------------------------------------------------------------------------------------


def tape(*rows: tuple[float, float], symbol: str = ATOM) -> TradeTape:
    """Trades at (seconds, price), ten lots each, buyers taking."""
    return TradeTape(
        tuple(
            TradeEvent(symbol, price, 1.0, "buy", T0 + round(seconds * NS_PER_S), trade_id=str(number))
            for number, (seconds, price) in enumerate(rows)
        )
    )


class BuysOnce(StrategyBase):
    """A market order on the first trade."""

    strategy_id = "buys_once"
    done = False

    def on_event(self, event: Any) -> Iterable[OrderIntent]:
        if isinstance(event, TradeEvent) and not self.done:
            self.done = True
            yield OrderIntent(self.strategy_id, ATOM, "buy", "market", 1.0)


@pytest.mark.parametrize(("latency_ms", "price"), [(0, 10.1), (999, 10.1), (1_000, 10.2), (2_500, 10.3)])
def test_next_trade_fills_at_the_first_trade_after_the_latency(latency_ms: int, price: float) -> None:
    config = replace(CONFIG, fill_timing=FillTiming.NEXT_TRADE, latency_ns=latency_ms * 1_000_000)
    trades = tape((0.5, 10.0), (1.5, 10.1), (2.5, 10.2), (3.5, 10.3))

    result = BacktestEngine(config, BuysOnce, trades, INSTRUMENTS, WIDE).run()

    assert [fill["price"] for fill in result.fills] == [price]
    assert len(result.equity_curve) == 1


def seen_on(trades: TradeTape, **changed: Any) -> list[tuple[str, float]]:
    """What a strategy sees of trades and of the bars made of them, with times in seconds."""
    built: list[Watches] = []

    def make(context: Any) -> Watches:
        built.append(Watches(context))
        return built[-1]

    config = replace(CONFIG, fill_timing=FillTiming.NEXT_TRADE, **changed)
    BacktestEngine(config, make, trades, INSTRUMENTS, WIDE).run()
    return [(frame or "trade", (ts - T0) / NS_PER_S) for ts, frame, *_ in built[0].seen]


def test_a_bar_made_of_trades_comes_behind_the_trade_that_shows_it_to_be_over_as_in_the_fleet() -> None:
    seen = seen_on(tape((0.0, 10.0), (30.0, 10.5), (60.0, 11.0), (61.0, 11.5)))

    assert seen == [("trade", 0), ("trade", 30), ("trade", 60), ("1m", 60), ("trade", 61)]


def test_where_nothing_trades_the_clock_shows_a_bar_to_be_over_two_seconds_after_it() -> None:
    seen = seen_on(tape((0.0, 10.0), (62.0, 10.5), (190.0, 11.0)))

    assert seen == [("trade", 0), ("1m", 60), ("trade", 62), ("1m", 120), ("1m", 180), ("trade", 190)]


def test_a_strategy_on_bars_orders_behind_the_trade_that_closed_the_bar_and_is_filled_by_the_one_after() -> None:
    class BuysOnBar(BuysOnce):
        def on_event(self, event: Any) -> Iterable[OrderIntent]:
            if isinstance(event, OHLCVBar):
                yield OrderIntent(self.strategy_id, ATOM, "buy", "market", 1.0)

    config = replace(CONFIG, fill_timing=FillTiming.NEXT_TRADE)
    trades = tape((0.0, 10.0), (60.5, 10.1), (61.5, 10.2), (62.5, 10.3))

    result = BacktestEngine(config, BuysOnBar, trades, INSTRUMENTS, WIDE).run()

    assert [(fill["price"], (fill["ts_fill_ns"] - T0) / NS_PER_S) for fill in result.fills] == [(10.2, 61.5)]


@pytest.mark.parametrize(("participation", "filled"), [(1.0, [1.0]), (0.5, [0.5, 0.5]), (0.3, [0.3, 0.3, 0.3, 0.1])])
def test_participation_is_the_share_of_each_trade_that_an_order_gets(participation: float, filled: list[float]) -> None:
    config = replace(CONFIG, fill_timing=FillTiming.NEXT_TRADE, fill_model="trade_flow", participation=participation)
    trades = tape(*((second + 0.5, 10.0) for second in range(6)))

    result = BacktestEngine(config, BuysOnce, trades, INSTRUMENTS, WIDE).run()

    assert [fill["qty"] for fill in result.fills] == filled
    assert result.to_dict()["config"]["participation"] == participation
    full = BacktestEngine(replace(config, participation=1.0), BuysOnce, trades, INSTRUMENTS, WIDE).run()
    assert (result.fingerprints.config == full.fingerprints.config) is (participation == 1.0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"participation": 0.0}, "above 0 to 1"),
        ({"participation": 0.5, "fill_model": "last_trade"}, "1 without fill timing next_trade and fill model"),
        ({"participation": 0.5, "fill_timing": FillTiming.NEXT_OPEN}, "1 without fill timing next_trade and"),
    ],
)
def test_participation_where_nobody_would_look_at_it_is_refused(changed: dict[str, Any], said: str) -> None:
    flow = replace(CONFIG, fill_timing=FillTiming.NEXT_TRADE, fill_model="trade_flow")
    with pytest.raises(ConfigError, match=f"BacktestConfig.participation: expected {said}"):
        replace(flow, **changed)


# -- data and configuration ------------------------------------------------------------------------------------


def test_bars_where_trades_are_asked_for_are_refused() -> None:
    with pytest.raises(ConfigError, match="fill timing next_trade: expected trades as input, got bars of ATOM/USDT"):
        engine({}, closes([10.0]), fill_timing=FillTiming.NEXT_TRADE)


def test_a_symbol_without_data_is_named() -> None:
    with pytest.raises(ConfigError, match="expected some of BTC/USDT, got ATOM/USDT"):
        engine({}, closes([10.0]), symbols=(ATOM, BTC))


def test_a_symbol_without_an_instrument_trades_on_the_grid_of_its_prices_and_says_so() -> None:
    config = BacktestConfig("XYZ/USDT", "scripted", 0, 0, 1_000.0, 0.0, 0.0, params={})
    data = closes([10.5, 11.0, 12.5], "XYZ/USDT")

    result = run_backtest(config, data, lambda context: Scripted(context, {}), limits=WIDE)

    assert "no instrument configured; traded in steps of 0.1 (price)" in result.warnings[0]


def test_a_grid_that_the_prices_do_not_lie_on_is_an_error_and_a_few_stray_prices_are_a_warning() -> None:
    with pytest.raises(ConfigError, match=r"bar 2: expected its open in steps of 0.01, got 10.005, as are 2 of 6 off"):
        engine({}, closes([10.0, 10.005, 10.0, 10.005, 10.0, 10.005]))

    assert "2 prices lie off the grid" in result_of({}, closes([10.0] * 299 + [10.005])).warnings[0]


def test_only_bars_between_start_and_end_are_run() -> None:
    result = result_of({}, closes([10.0] * 10), start_ts=T0 + 2 * NS_PER_MINUTE, end_ts=T0 + 5 * NS_PER_MINUTE)

    assert result.bars == 3


@pytest.mark.parametrize(
    ("timing", "final"), [(FillTiming.BAR_CLOSE, 944_078.031), (FillTiming.NEXT_OPEN, 944_052.003)]
)
def test_the_cross_of_averages_over_the_recorded_month(timing: FillTiming, final: float, recorded_data: Path) -> None:
    series = from_file(recorded_data / "btcusd_perp_1m_202201.csv.gz", "BTC/USD", "1m")
    params = {"fast": 10, "slow": 50, "allow_short": False, "qty": 1.0}
    config = BacktestConfig("BTC/USD", "sma_cross_v1", 0, 0, 1e6, 0.001, 0.0, fill_timing=timing, params=params)
    limits = RiskLimits(per_order_usd_cap=1e6, daily_loss_usd_cap=1e6, orders_per_min_cap=100)

    result = run_backtest(config, series, SmaCross, limits=limits)

    assert (result.num_trades, len(result.round_trips)) == (617, 617)
    assert result.final_capital == final
    assert result.refused == {}
