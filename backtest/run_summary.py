"""A result on the screen: what the specification shows, and what decides how far to trust it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from backtest.contracts import BacktestResult, FillTiming
from backtest.metrics_format import money, number, percent, period, quote_of

_FILLS: Final = {
    FillTiming.BAR_CLOSE: "at the close of the bar that was decided on",
    FillTiming.NEXT_OPEN: "at the open of the next bar",
    FillTiming.NEXT_TRADE: "at the first trade after the latency",
}
_SHOWN: Final = 12  # characters of a fingerprint


def summary(result: BacktestResult) -> str:
    """The result as text."""
    return "\n".join(_lines(result))


def _lines(result: BacktestResult) -> Iterator[str]:
    quote = quote_of(result.symbol)
    config = result.config
    symbols = ", ".join(config.traded) if config is not None else result.symbol
    title = f"Backtest Results: {result.strategy_id} on {symbols}"
    first, last, days = period(result.start_ts, result.end_ts)
    yield title
    yield "-" * max(45, len(title))
    yield f"Period:         {first} → {last} ({days} {'day' if days == 1 else 'days'})"
    yield f"Initial:        {money(result.initial_capital, quote)}"
    yield f"Final:          {money(result.final_capital, quote)}"
    yield f"Total Return:   {percent(result.total_return_pct, signed=True)}"
    yield f"Sharpe Ratio:   {number(result.sharpe_ratio)}"
    yield f"Max Drawdown:   {percent(-result.max_drawdown_pct)}"
    yield f"Trades:         {result.num_trades} (win rate: {percent(100 * result.win_rate, decimals=1)})"
    yield f"Profit Factor:  {number(result.profit_factor)}"
    yield f"Fees:           {money(result.fees_paid, quote)}"
    if config is not None:
        yield f"Fill timing:    {config.fill_timing} ({_FILLS[config.fill_timing]})"
        yield f"Slippage:       {config.slippage_bps:g} bps ({config.slippage_model})"
        yield f"Risk engine:    {'on' if config.risk else 'off: every order passed'}"
    if result.refused:
        counted = ", ".join(f"{count} {code}" for code, count in result.refused.items())
        yield f"Refused:        {counted}"
    prints = result.fingerprints
    yield f"Bars:           {result.bars:,}"
    yield (
        f"Fingerprints:   data {prints.data[:_SHOWN]}, config {prints.config[:_SHOWN]}, code {prints.code[:_SHOWN]}, "
        f"orders {prints.orders[:_SHOWN]}"
    )
    for warning in result.warnings:
        yield f"Warning:        {warning}"
