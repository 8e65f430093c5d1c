"""The lint rules: a sound result passes all of them, and each of them finds what it is there for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from backtest.contracts import BacktestConfig, BacktestResult, FillTiming, RoundTrip
from backtest.data.series import BarSeries
from backtest.lint.command import Finding, Severity, lint, lint_lines, main
from backtest.lint.rules import RULES
from backtest.metrics import calculate_metrics
from backtest.metrics.formatting import minute

Floats = npt.NDArray[np.float64]
HOUR: Final = 3_600_000_000_000
DAY: Final = 24 * HOUR
START: Final = 1_640_995_200_000_000_000  # 2022-01-01
SYMBOL: Final = "BTC/USD"
CAPITAL: Final = 100_000.0
DAYS: Final = 400
PRICE: Final = 40_000.0
QTY: Final = 0.1
RATE: Final = 0.0004
CONFIG: Final = BacktestConfig(
    SYMBOL,
    "sound",
    0,
    0,
    CAPITAL,
    RATE,
    2.0,
    fill_timing=FillTiming.NEXT_OPEN,
    timeframes=("1h",),
    params={"fast": 10, "band": 50},
)


def bars(days: int = DAYS, seed: int = 3, hours: int = 1) -> BarSeries:
    """Bars of an hour of a market that goes nowhere in particular."""
    rng = np.random.default_rng(seed)
    count = days * 24 // hours
    steps = rng.normal(0.0, 0.004 * sqrt(hours), count)
    close = np.round(PRICE * np.exp(np.cumsum(steps - steps.mean())), 1)
    opens = np.concatenate([[PRICE], close[:-1]])
    wick = np.abs(rng.normal(0.0, 30.0, (2, count)))
    high, low = np.round(np.maximum(opens, close) + wick[0], 1), np.round(np.minimum(opens, close) - wick[1], 1)
    ts_open = START + np.arange(count, dtype=np.int64) * HOUR * hours
    volume = rng.integers(10, 900, count).astype(np.float64)
    return BarSeries(SYMBOL, f"{hours}h", ts_open, ts_open + HOUR * hours, opens, high, low, close, volume)


def daily(days: int = DAYS, mean: float = 13.0, deviation: float = 100.0, seed: int = 5) -> Floats:
    """Profits of days with exactly this mean and deviation."""
    drawn = np.random.default_rng(seed).normal(0.0, 1.0, days)
    made: Floats = mean + deviation * (drawn - drawn.mean()) / drawn.std(ddof=1)
    return made


def result_of(pnl: Floats, *, tail: float | None = None, price: float = PRICE, **changed: Any) -> BacktestResult:
    """One trade of an hour a day that brings the day's profit; ``tail`` is the profit of a position left open."""
    trips, fills, orders = [], [], []
    for day, gain in enumerate(pnl.tolist()):
        opened = START + day * DAY + 12 * HOUR
        fees = 2 * RATE * QTY * price
        trips.append(
            RoundTrip(SYMBOL, "buy", QTY, opened, opened + HOUR, price, price + (gain + fees) / QTY, gain, fees)
        )
        for side, at, paid in (("buy", opened, price), ("sell", opened + HOUR, price + (gain + fees) / QTY)):
            name = f"o-{day}-{side}"
            fills.append(fill(name, side, at, paid))
            orders.append({"order_id": name, "type": "market", "ts_accepted_ns": at, "limit_price": None})
    equity = CAPITAL + np.cumsum(pnl)
    if tail is not None:
        last = START + len(pnl) * DAY
        trips.append(RoundTrip(SYMBOL, "buy", QTY, last - HOUR, last, price, price + tail / QTY, tail, 0.0, True))
        equity[-1] += tail
    curve = [(START + (day + 1) * DAY, value) for day, value in enumerate(equity.tolist())]
    curve.insert(0, (START, CAPITAL))
    metrics = calculate_metrics(curve, trips, initial_capital=CAPITAL)
    plain: dict[str, Any] = {
        "strategy_id": "sound",
        "symbol": SYMBOL,
        "start_ts": START,
        "end_ts": curve[-1][0],
        "initial_capital": CAPITAL,
        "final_capital": curve[-1][1],
        **{name: metrics[name] for name in ("total_return_pct", "sharpe_ratio", "max_drawdown_pct", "win_rate")},
        "profit_factor": metrics["profit_factor"],
        "num_trades": len(pnl),
        "equity_curve": curve,
        "config": CONFIG,
        "metrics": metrics,
        "round_trips": tuple(trips),
        "fills": tuple(fills),
        "orders": tuple(orders),
        "fees_paid": sum(trip.fees for trip in trips),
    }
    return BacktestResult(**{**plain, **changed})


def fill(order: str, side: str, at: int, price: float, liquidity: str = "taker", qty: float = QTY) -> dict[str, Any]:
    return {"order_id": order, "side": side, "symbol": SYMBOL, "qty": qty, "price": price, "ts_fill_ns": at,
            "fee": RATE * qty * price, "liquidity": liquidity}  # fmt: skip


SOUND = result_of(daily())
BARS = bars()


def found(rule: str, result: BacktestResult = SOUND, **known: Any) -> list[Finding]:
    """What one rule says of a result."""
    given = {"series": BARS, "trials": 1, **known}
    return [finding for finding in lint(result, **given) if finding.rule == rule]


def one(rule: str, result: BacktestResult = SOUND, **known: Any) -> Finding:
    """The only thing that a rule says of a result."""
    findings = found(rule, result, **known)
    assert len(findings) == 1, (rule, findings)
    assert findings[0].advice
    return findings[0]


def altered(config: Any = None, **changed: Any) -> BacktestResult:
    """The sound result with another configuration."""
    return replace(SOUND, config=replace(CONFIG, **(config or {})), **changed)


def test_a_sound_result_passes_every_rule() -> None:
    assert lint(SOUND, series=BARS, trials=1, warm_up=12) == []
    assert lint_lines([]) == ["Nothing speaks against this result that could be seen in it."]


def test_every_rule_bears_another_name_and_says_what_it_looks_at() -> None:
    names = [rule.__name__ for rule in RULES]
    assert len(set(names)) == len(names)
    assert all(rule.__doc__ for rule in RULES)


def test_nothing_but_the_result_is_needed() -> None:
    assert [finding.rule for finding in lint(SOUND)] == ["luck"]  # how many were tried is not known
    bare = replace(SOUND, config=None, metrics={}, fills=(), orders=(), round_trips=(), equity_curve=[])
    assert {finding.rule for finding in lint(bare)} == {"few_trades", "short_history"}


# -- where the profit comes from ------------------------------------------------------------------------------


def test_few_trades_are_judged_by_their_scatter_and_not_by_their_number() -> None:
    scattered = result_of(daily(60, mean=13.0))
    finding = one("few_trades", scattered)
    assert "60 trades do not tell it from zero; about 228 of this kind would" in finding.text
    assert not found("few_trades", result_of(daily(20, mean=80.0)))
    assert not found("few_trades", result_of(daily(60, mean=-13.0)))  # nobody believes in a loss


def test_one_trade_and_none_are_too_few() -> None:
    assert one("few_trades", result_of(np.array([5.0]))).severity is Severity.SERIOUS
    assert "never traded" in one("few_trades", replace(SOUND, round_trips=())).text
    held = replace(SOUND, round_trips=tuple(replace(trip, is_open=True) for trip in SOUND.round_trips[:1]))
    assert "only opened positions" in one("few_trades", held).text


def test_a_win_rate_of_few_trades_is_an_interval() -> None:
    finding = one("vague_win_rate", result_of(np.array([50.0, -20.0] * 10)))
    assert "50% in 20 trades is anything from 30% to 70%" in finding.text
    assert not found("vague_win_rate")


def test_a_profit_out_of_one_trade_is_named() -> None:
    pnl = daily(mean=-2.0)
    pnl[200] += 3_000.0
    finding = one("one_trade", result_of(pnl))
    assert finding.severity is Severity.SERIOUS
    assert "2022-07-20 12:00" in finding.text
    pnl = daily(mean=3.0)
    pnl[200] += 1_500.0
    assert one("one_trade", result_of(pnl)).severity is Severity.WARNING
    assert not found("one_trade", result_of(-daily()))


def test_a_profit_out_of_one_day_is_named() -> None:
    pnl = daily(mean=-2.0)
    pnl[200] += 3_000.0
    finding = one("one_day", result_of(pnl))
    assert "2022-07-20" in finding.text
    assert finding.severity is Severity.SERIOUS
    assert not found("one_day")


def test_a_profit_out_of_one_month_is_named() -> None:
    pnl = daily(mean=-5.0)
    pnl[59:90] += 200.0
    assert "2022-03" in one("one_month", result_of(pnl)).text
    assert not found("one_month")


def test_a_profit_out_of_rising_markets_only_is_named() -> None:
    market = BARS.close[23::24] / np.concatenate([[PRICE], BARS.close[23:-1:24]]) - 1
    trend = np.array([market[max(at - 4, 0) : at + 1].sum() for at in range(DAYS)])
    one_sided = daily(deviation=60.0, mean=0.0) + np.where(trend > 0, 40.0, -20.0)
    assert "rising markets" in found("one_regime", result_of(one_sided))[0].text
    assert not found("one_regime")
    assert not found("one_regime", result_of(one_sided), series=None)


def test_a_short_history_is_one_kind_of_market() -> None:
    assert one("short_history", result_of(daily(31))).severity is Severity.INFO
    assert not found("short_history")


def test_a_profit_that_is_still_open_is_none_yet() -> None:
    assert one("open_position", result_of(daily(mean=-1.0), tail=900.0)).severity is Severity.SERIOUS
    assert not found("open_position", result_of(daily(), tail=900.0))
    assert found("open_position", result_of(np.zeros(30), tail=0.1 + 0.2))
    assert not found("open_position", result_of(daily(mean=-13.0), tail=900.0))


def test_a_result_that_hangs_on_its_last_day_is_none() -> None:
    pnl = daily(mean=-1.0)
    pnl[-1] = 900.0
    assert one("last_day", result_of(pnl)).severity is Severity.SERIOUS
    assert not found("last_day")


# -- fills and costs ------------------------------------------------------------------------------------------


def test_fills_at_the_deciding_close_are_kind() -> None:
    assert one("same_close", altered({"fill_timing": FillTiming.BAR_CLOSE})).value == 2 * DAYS
    assert not found("same_close")


def test_trading_for_nothing_is_not_to_be_had() -> None:
    assert "free" in one("no_fees", altered({"commission_rate": 0.0})).text
    assert "paid 0.010% for" in one("no_fees", altered({"commission_rate": -0.0001})).text
    assert not found("no_fees")


def test_market_orders_pay_the_spread() -> None:
    assert one("no_slippage", altered({"slippage_bps": 0.0})).value == 2 * DAYS
    resting = tuple({**order, "type": "limit"} for order in SOUND.orders)
    assert not found("no_slippage", altered({"slippage_bps": 0.0}, orders=resting))


def test_resting_orders_that_were_only_touched_are_counted() -> None:
    orders = [{"order_id": f"o-{at}", "type": "limit", "limit_price": 1.0, "ts_accepted_ns": START} for at in range(10)]

    def filled(beyond: float) -> BacktestResult:
        fills = [
            fill(f"o-{at}", "buy", int(BARS.ts_close[at]) - 1, float(BARS.low[at]) + beyond, "maker")
            for at in range(10)
        ]
        return altered(fills=tuple(fills), orders=tuple(orders))

    assert "10 of 10 resting orders" in one("touched_limits", filled(0.0)).text
    assert not found("touched_limits", filled(5.0))


def test_orders_as_large_as_the_market_do_not_fill_like_that() -> None:
    large = tuple({**each, "qty": 200.0} for each in SOUND.fills)
    assert "took more than 5%" in one("large_orders", altered(fills=large)).text
    dead = replace(BARS, volume=np.zeros(len(BARS)))
    assert "in bars without any trade" in one("large_orders", series=dead).text
    assert not found("large_orders")


def test_a_profit_that_a_little_more_cost_takes_away_is_thin() -> None:
    finding = one("thin_profit", result_of(daily(mean=2.0, deviation=15.0)))
    assert finding.value == pytest.approx(2.5, abs=0.05)  # 2 on 8,000 traded
    assert "2.50 bps more" in finding.text
    assert not found("thin_profit")


def test_it_is_said_when_fees_eat_the_profit_and_when_there_is_none_to_eat() -> None:
    eaten = one("fees_eat_it", result_of(daily(mean=-1.0, deviation=15.0)))
    assert eaten.value == pytest.approx(2.75, abs=0.05)
    assert one("loses_before_fees", result_of(daily(mean=-8.0, deviation=15.0))).value < 0
    assert not found("fees_eat_it")
    assert not found("loses_before_fees")


def test_doubled_costs_are_tried_where_another_run_is_to_be_had() -> None:
    asked: list[BacktestConfig] = []

    def rerun(left: float) -> Callable[[BacktestConfig], BacktestResult]:
        def run(config: BacktestConfig) -> BacktestResult:
            asked.append(config)
            return replace(SOUND, final_capital=CAPITAL + left)

        return run

    assert one("doubled_costs", rerun=rerun(-5.0)).severity is Severity.SERIOUS
    assert (asked[0].commission_rate, asked[0].slippage_bps) == (2 * RATE, 4.0)
    assert one("doubled_costs", rerun=rerun(1_000.0)).severity is Severity.WARNING
    assert not found("doubled_costs", rerun=rerun(5_000.0))
    assert not found("doubled_costs")


def test_positions_beyond_the_capital_are_borrowed() -> None:
    large = tuple(replace(trip, qty=10.0) for trip in SOUND.round_trips)
    assert "4.0 times the initial capital" in one("borrowed_money", replace(SOUND, round_trips=large)).text
    assert not found("borrowed_money")


def test_trading_on_without_capital_is_fiction() -> None:
    pnl = daily()
    pnl[100] = -150_000.0
    assert one("borrowed_money", result_of(pnl)).severity is Severity.SERIOUS


def test_orders_that_were_refused_make_it_another_strategy() -> None:
    assert "500 PER_ORDER_CAP" in one("refused_orders", altered(refused={"PER_ORDER_CAP": 500})).text
    assert not found("refused_orders", altered(refused={"PER_ORDER_CAP": 3}))


# -- market and data ------------------------------------------------------------------------------------------


def rising(days: int = DAYS) -> BarSeries:
    series = bars(days)
    factor = np.linspace(1.0, 1.5, len(series))
    return replace(
        series, open=series.open * factor, high=series.high * factor * 1.01, low=series.low * factor * 0.99,
        close=series.close * factor,
    )  # fmt: skip


def test_holding_in_a_rising_market_is_no_skill() -> None:
    held = RoundTrip(SYMBOL, "buy", 2.0, START, START + DAYS * DAY, PRICE, 1.5 * PRICE, 39_000.0, 60.0)
    result = replace(
        SOUND, round_trips=(held,), final_capital=CAPITAL + 39_000.0, metrics={**SOUND.metrics, "exposure_pct": 100.0}
    )
    finding = one("always_in", result, series=rising())
    assert "rose 48.8%" in finding.text
    assert finding.value == pytest.approx(1.0, abs=0.1)
    assert not found("always_in", series=rising())
    assert not found("always_in", result, series=BARS)  # a market that went nowhere explains nothing


def test_a_result_that_moves_with_the_market_is_the_market() -> None:
    market = BARS.close[23::24] / np.concatenate([[PRICE], BARS.close[23:-1:24]]) - 1
    assert one("mostly_market", result_of(13.0 + 5_000.0 * market)).value > 0.9
    assert not found("mostly_market")


def without(series: BarSeries, first: int, last: int) -> BarSeries:
    keep = np.r_[0:first, last : len(series)]
    return BarSeries(
        series.symbol, series.timeframe,
        *(getattr(series, name)[keep] for name in ("ts_open", "ts_close", "open", "high", "low", "close", "volume")),
    )  # fmt: skip


def test_missing_bars_are_counted() -> None:
    assert one("gaps", series=without(BARS, 500, 600)).severity is Severity.WARNING
    assert one("gaps", series=without(BARS, 500, 501)).severity is Severity.INFO
    assert not found("gaps")


def test_bars_without_volume_are_counted() -> None:
    volume = np.where(np.arange(len(BARS)) % 10 == 0, 0.0, BARS.volume)
    assert one("dead_bars", series=replace(BARS, volume=volume)).value == pytest.approx(0.1)
    assert not found("dead_bars")


def test_bars_that_repeat_themselves_are_found() -> None:
    columns = {name: getattr(BARS, name).copy() for name in ("open", "high", "low", "close", "volume")}
    for column in columns.values():
        column[700:712] = column[700]
    finding = one("repeated_bars", series=replace(BARS, **columns))
    assert "up to 12 in a row" in finding.text
    for column in columns.values():
        column[700:712] = column[700:712] + np.arange(12) * 0.1
    assert not found("repeated_bars", series=replace(BARS, **columns))


def spiked(size: float, back: bool) -> BarSeries:
    close, high = BARS.close.copy(), BARS.high.copy()
    close[900] *= 1 + size
    if not back:
        close[901:] *= 1 + size
        high[901:] *= 1 + size
    high[900:902] = np.maximum(high[900:902], close[900:902]) * 1.001
    return replace(BARS, close=close, high=high)


def test_prints_far_off_that_the_next_bar_takes_back_are_found() -> None:
    finding = one("spikes", series=spiked(0.2, back=True))
    assert "1 of the closes" in finding.text
    assert not found("spikes", series=spiked(0.2, back=False))  # a market may jump
    assert not found("spikes", series=spiked(0.01, back=True))
    assert not found("spikes")


def test_a_jump_among_jumps_is_the_market() -> None:
    series = spiked(0.2, back=True)
    close = series.close.copy()
    close[885:920:2] *= 1.1
    wild = replace(series, close=close, high=np.maximum(series.high, close), low=np.minimum(series.low, close))
    assert not any("900" in finding.text for finding in found("spikes", series=wild))
    assert not found("spikes", series=wild)


def test_longer_bars_that_close_before_they_are_over_are_found() -> None:
    def fours(shift: int) -> BarSeries:
        made = bars(DAYS, hours=4)
        close = BARS.close[3::4]
        ends = made.ts_close - shift
        return BarSeries(SYMBOL, "4h", made.ts_open - shift, ends, close, close + 1, close - 1, close, made.volume)

    assert one("early_bars", series=[BARS, fours(4 * HOUR)]).severity is Severity.SERIOUS
    assert not found("early_bars", series=[BARS, fours(0)])


def test_orders_before_the_strategy_is_warm_are_found() -> None:
    assert "after 12 bars" in one("warm_up", warm_up=100).text
    assert one("warm_up", altered({"params": {"period": 200}})).value == 12
    assert not found("warm_up", warm_up=12)
    assert not found("warm_up", altered({"params": {"qty": 5_000, "levels": 3}}))


def test_a_run_that_is_mostly_warm_up_is_found() -> None:
    late = tuple({**order, "ts_accepted_ns": START + 350 * DAY} for order in SOUND.orders)
    assert "go into its warm-up" in one("warm_up", altered(orders=late), warm_up=3_000).text


# -- trials ---------------------------------------------------------------------------------------------------


def test_a_sharpe_ratio_that_nobody_has_is_doubted() -> None:
    assert one("sharpe_too_good", result_of(daily(mean=25.0))).severity is Severity.WARNING
    assert one("sharpe_too_good", result_of(daily(mean=60.0))).severity is Severity.SERIOUS
    assert not found("sharpe_too_good")


def test_the_number_of_trials_deflates_the_result() -> None:
    finding = one("luck", trials=500)
    assert "given 500 variants tried" in finding.text
    assert finding.value < 0.95
    assert not found("luck", trials=1)


def test_a_result_that_is_luck_even_alone_is_told() -> None:
    assert "the only variant tried" in one("luck", result_of(daily(mean=4.0))).text


def test_without_a_count_of_trials_it_is_said_how_many_it_stands() -> None:
    finding = one("luck", trials=None)
    assert finding.severity is Severity.INFO
    assert f"more than {int(finding.value):,} variants" in finding.text
    assert not found("luck", result_of(daily(mean=50.0)), trials=None)


def table(peak: float = 1.3, around: float = 1.2, own: tuple[int, int] = (10, 50)) -> pd.DataFrame:
    rows = [(fast, slow) for fast in (5, 10, 15, 20) for slow in (40, 50, 60, 70)]
    sharpes = [peak if row == own else around for row in rows]
    return pd.DataFrame({"fast": [r[0] for r in rows], "band": [r[1] for r in rows], "sharpe_ratio": sharpes})


def test_parameters_at_the_end_of_the_search_are_found() -> None:
    edge = altered({"params": {"fast": 5, "band": 50}})
    assert "fast = 5 is the smallest" in one("on_the_edge", edge, sweep=table()).text
    assert not found("on_the_edge", sweep=table())
    assert not found("on_the_edge", altered({"params": {"fast": 7, "band": 50}}), sweep=table())


def test_a_peak_among_poor_neighbours_is_found() -> None:
    assert one("lonely_peak", sweep=table(2.0, 0.4)).severity is Severity.WARNING
    assert one("lonely_peak", sweep=table(2.0, -0.4)).severity is Severity.SERIOUS
    assert not found("lonely_peak", sweep=table())


def test_a_sweep_counts_as_so_many_trials() -> None:
    scattered = table().assign(sharpe_ratio=np.linspace(-2.5, 2.5, 16))
    assert "given 16 variants" in one("luck", trials=None, sweep=scattered).text


# -- the command line -----------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    file = tmp_path / "result.json"
    file.write_text(json.dumps(SOUND.to_dict()))
    return file


def test_findings_are_printed_with_what_to_do(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved.write_text(json.dumps(result_of(daily(60)).to_dict()))
    assert main([str(saved), "--trials", "5"]) == 0
    printed = capsys.readouterr().out
    assert "60 trades do not tell it from zero" in printed
    assert "→ Test on more data" in printed
    assert "[few_trades]" in printed


def test_strict_ends_with_4_when_there_are_warnings(saved: Path) -> None:
    assert main([str(saved), "--trials", "1", "--strict"]) == 0
    assert main([str(saved), "--trials", "900", "--strict"]) == 4
    assert main([str(saved), "--trials", "900"]) == 0


def test_findings_come_as_json(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(saved), "--trials", "900", "--json"]) == 0
    (finding,) = json.loads(capsys.readouterr().out)
    assert (finding["rule"], finding["severity"]) == ("luck", "serious")


def test_bars_and_the_table_of_a_sweep_are_read(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.DataFrame(
        {"timestamp": BARS.ts_close, **{n: getattr(BARS, n) for n in ("open", "high", "low", "close")}}
    )
    frame["volume"] = 0.0
    frame.to_csv(tmp_path / "bars.csv", index=False)
    table(2.0, -0.4).to_csv(tmp_path / "sweep.csv", index=False)
    assert main([str(saved), "--bars", str(tmp_path / "bars.csv"), "--sweep", str(tmp_path / "sweep.csv")]) == 0
    printed = capsys.readouterr().out
    assert "[dead_bars]" in printed
    assert "[lonely_peak]" in printed


@pytest.mark.parametrize("content", [None, "{", "[]", '{"strategy_id": "x"}'])
def test_what_is_no_result_is_said_to_be_none(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "other.json"
    if content is not None:
        file.write_text(content)
    assert main([str(file)]) == 1
    assert f"{file}: expected" in capsys.readouterr().err


# -- the recorded month ---------------------------------------------------------------------------------------


def test_the_plain_cross_of_the_recorded_month_is_told_the_truth_and_no_more(recorded_data: Path) -> None:
    from decimal import Decimal

    from backtest.data.series import from_file
    from backtest.engine import run_backtest
    from core.instruments import Instrument, Instruments
    from risk.limits import RiskLimits
    from strategies.samples.sma_cross import SmaCross

    series = from_file(recorded_data / "btcusd_perp_1m_202201.csv.gz", SYMBOL, "1m", stamp="close")
    config = BacktestConfig(
        SYMBOL, "sma_cross_v1", 0, 0, 1e6, 0.001, 0.0, params={"fast": 10, "slow": 50, "allow_short": False}
    )
    limits = RiskLimits(per_order_usd_cap=1e9, daily_loss_usd_cap=1e9, orders_per_min_cap=1_000)
    grid = Instruments([Instrument(SYMBOL, Decimal("0.5"), Decimal(1))])
    result = run_backtest(config, series, SmaCross, instruments=grid, limits=limits)

    findings = lint(result, series=series, trials=1)

    assert {finding.rule for finding in findings} == {
        "same_close", "no_slippage", "loses_before_fees", "short_history",
    }  # fmt: skip


def test_gaps_are_a_share_of_the_whole_time_however_long_they_are() -> None:
    far = without(BARS, 10, len(BARS) - 10)

    text = one("gaps", series=far).text

    assert 99.0 < float(re.search(r"([\d.]+)% of the time", text)[1]) < 100.0  # type: ignore[index]


def tenfold(factor: float, *, back: bool = False) -> BarSeries:
    """Bars whose prices are ``factor`` times as high from the 700th on, or in the 700th only."""
    changed = np.arange(len(BARS)) == 700 if back else np.arange(len(BARS)) >= 700
    scale = np.where(changed, factor, 1.0)
    return replace(BARS, **{name: getattr(BARS, name) * scale for name in ("open", "high", "low", "close")})


@pytest.mark.parametrize(("factor", "words"), [(10.0, "10.0 times"), (0.1, "1/10.0 of"), (2.0, "2.0 times")])
def test_a_price_that_jumps_and_stays_is_named_with_bar_time_and_factor(factor: float, words: str) -> None:
    finding = one("jumps", series=tenfold(factor))

    assert "1 jump from one bar to the next, the first one to bar 700 at " in finding.text
    assert minute(int(BARS.ts_open[700])) in finding.text
    assert f"its close is {words} the close before it" in finding.text


def test_a_jump_that_comes_back_is_a_spike_and_no_jump() -> None:
    assert not found("jumps", series=tenfold(10.0, back=True))
    assert not found("jumps", series=BARS)
