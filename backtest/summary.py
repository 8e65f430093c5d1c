"""The summary of a backtest: the result in a dozen lines, with the rule of its fills and what to be careful of.

The cautions are those of the report: what a reader must know before believing a figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from backtest.contracts import BacktestConfig, BacktestResult, FillTiming
from backtest.metrics.formatting import counted, minute, money, number, percent, period, quote_of
from backtest.metrics.returns import DAY_NS
from backtest.metrics.trades import MUCH, largest_position
from core.clock import NS_PER_MS
from core.contracts import DenialCode

_FEW_TRADES: Final = 30
_SHORT_DAYS: Final = 30
_LABEL_WIDTH: Final = 16
NO_FIGURE: Final = "–"

FILL_TIMING: Final[Mapping[FillTiming, str]] = {
    FillTiming.BAR_CLOSE: "at the close of the bar that led to the order",
    FillTiming.NEXT_OPEN: "at the open of the bar after the one that led to the order",
    FillTiming.NEXT_TRADE: "at the first trade after the latency",
}
"""When market orders fill, in plain words."""
_MODEL: Final = {
    "last_trade": "in full at its price (last_trade)",
    "trade_flow": "from the volume that trades (trade_flow), of which at most {share:g} % goes to orders",
}


def fill_rule(config: BacktestConfig) -> str:
    """When and how orders fill, in plain words."""
    if config.fill_timing is not FillTiming.NEXT_TRADE:
        return FILL_TIMING[config.fill_timing]
    latency = f"a latency of {config.latency_ns / NS_PER_MS:g} ms" if config.latency_ns else "the decision"
    return f"at the first trade after {latency}, {_MODEL[config.fill_model].format(share=100 * config.participation)}"


def summary_lines(result: BacktestResult) -> list[str]:
    """The result as lines for a terminal, without colour, the warnings last."""
    quote, config = quote_of(result.symbol), result.config
    first, last, days = period(*span_of(result))
    closed, sound = bool(result.num_trades), ruined_at(result) is None
    rows = [
        ("Period", f"{first} → {last} ({counted(days, 'day')})"),
        ("Initial", money(result.initial_capital, quote)),
        ("Final", money(result.final_capital, quote)),
        ("Total Return", percent(result.total_return_pct, signed=True)),
        ("Sharpe Ratio", number(result.sharpe_ratio) if sound else NO_FIGURE),
        ("Max Drawdown", percent(-result.max_drawdown_pct)),
        (
            "Trades",
            f"{result.num_trades:,}" + (f" (win rate: {percent(100.0 * result.win_rate, decimals=1)})" * closed),
        ),
        ("Profit Factor", number(result.profit_factor) if closed else NO_FIGURE),
        ("Fees", money(result.fees_paid, quote) + (f" ({_rates(config)})" if config else "")),
    ]
    if config is not None:
        rows.append(("Fills", fill_rule(config)))
        rows.append(("Slippage", slippage(config)))
    lines = [
        f"Backtest Results: {title_of(result)}",
        "-" * 45,
        *(f"{label + ':':<{_LABEL_WIDTH}}{text}" for label, text in rows),
    ]
    return lines + [f"{'Warning:':<{_LABEL_WIDTH}}{text}" for text in cautions(result)]


def refusals(result: BacktestResult) -> str:
    """How many orders were refused, by code."""
    return ", ".join(f"{count:,} {code}" for code, count in sorted(result.refused.items())) or "none"


def title_of(result: BacktestResult) -> str:
    """Strategy and symbols."""
    symbols = result.config.traded if result.config else (result.symbol,)
    return f"{result.strategy_id} on {', '.join(symbols)}"


def cautions(result: BacktestResult) -> tuple[str, ...]:
    """What makes figures void, the run's own warnings, then what its rules and its length mean for them."""
    texts = (*_of_capital(result), *_folded(result.warnings), *_of_rules(result), *_of_length(result))
    return tuple(text[:1].upper() + text[1:] for text in texts)


def ruined_at(result: BacktestResult) -> int | None:
    """When the capital was first gone, in UTC epoch ns; None where it never was."""
    return next((ts_ns for ts_ns, capital in result.equity_curve if capital <= 0), None)


def _of_capital(result: BacktestResult) -> Iterator[str]:
    quote, gone = quote_of(result.symbol), ruined_at(result)
    if gone is not None:
        lowest = money(min(capital for _, capital in result.equity_curve), quote)
        yield (
            f"The capital was gone at {minute(gone)} ({lowest} at the lowest), and it went on all the same: no account "
            "does. No figure after that means anything."
        )
    elif (times := largest_position(result.round_trips) / result.initial_capital) > MUCH:
        yield (
            f"Up to {number(times, 1)} times the initial capital was in the market: borrowing is neither limited nor "
            "charged, and nothing is liquidated."
        )


def _folded(warnings: Iterable[str]) -> Iterator[str]:
    """What is said of several symbols in the same words, once."""
    symbols: dict[str, list[str]] = {}
    for warning in warnings:
        symbol, separator, text = warning.partition(": ")
        separator = separator if "/" in symbol and " " not in symbol else ""
        symbols.setdefault(text if separator else warning, []).extend([symbol] if separator else [])
    for text, named in symbols.items():
        yield f"{', '.join(named)}: {text}" if named else text


def _of_rules(result: BacktestResult) -> Iterator[str]:
    config = result.config
    if config is None:
        return
    if config.fill_timing is FillTiming.BAR_CLOSE:
        yield (
            "Fills at the close of the deciding bar are kind: nobody trades at a price that is known only once it is "
            "gone. Compare with fill timing next_open."
        )
    if not config.commission_rate and not config.slippage_bps:
        yield "Neither commission nor slippage: a real account pays both."
    if len(config.timeframes) > 1:
        yield (
            f"Bars of {' and '.join(config.timeframes)} come as one stream: a strategy that does not look at their "
            "timeframe, as the samples and kernels do not, takes each close for a new price."
        )
    if not config.risk:
        yield "The risk engine was switched off: orders that it would deny were filled."


def _of_length(result: BacktestResult) -> Iterator[str]:
    start, end = span_of(result)
    if (days := (end - start) / DAY_NS) < _SHORT_DAYS:
        yield f"Only {number(days, 1)} days: annualised figures say little."
    if 0 < result.num_trades < _FEW_TRADES:
        yield f"Only {counted(result.num_trades, 'trade')}: chance explains a lot."
    if not result.num_trades:
        yield "No trade was closed."
    if result.denied:
        yield _denied(result)
    if any(trip.is_open for trip in result.round_trips):
        yield "A position was open at the end; it counts at the last price, without the cost of closing it."


def _denied(result: BacktestResult) -> str:
    count = f"{result.denied:,} {'order was' if result.denied == 1 else 'orders were'} denied by the risk engine"
    if DenialCode.NO_PRICE not in result.refused:
        return f"{count}."
    return (
        f"{count}, {result.refused[DenialCode.NO_PRICE]:,} because it counts in dollars and knew no price for "
        f"{quote_of(result.symbol) or 'the quote currency'}; without it (--no-risk) they would have gone through."
    )


def span_of(result: BacktestResult) -> tuple[int, int]:
    """From when to when the run went, in UTC epoch ns; where the result leaves it open, from the curve."""
    curve = result.equity_curve
    return result.start_ts or (curve[0][0] if curve else 0), result.end_ts or (curve[-1][0] if curve else 0)


def slippage(config: BacktestConfig) -> str:
    """The rule of slippage in plain words."""
    if not config.slippage_bps:
        return "none"
    size = f"{config.slippage_bps:g}"
    match config.slippage_model:
        case "fixed":
            return f"{size} bps against every market order"
        case "range":
            return f"{config.slippage_bps / 100:g}% of the bar's range against every market order"
        case "volume":
            return f"{size} bps times the square root of the order's share in the bar's volume"


def _rates(config: BacktestConfig) -> str:
    taker = f"{100 * config.commission_rate:g}% per fill"
    return taker if config.maker_rate is None else f"{taker}, resting orders {100 * config.maker_rate:g}%"
