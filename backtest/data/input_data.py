"""What is given to a run, made fit for it: the traded symbols, cut to its time, in the timeframes asked for."""

from __future__ import annotations

from collections.abc import Sequence

from backtest.contracts import BacktestConfig, FillTiming
from backtest.data.series import BarSeries
from backtest.data.trade_tape import TradeTape, longer_bars
from core.clock import NS_PER_MINUTE
from core.errors import ConfigError
from core.timeframes import timeframe_ns


def prepared(
    config: BacktestConfig, data: Sequence[BarSeries | TradeTape]
) -> tuple[tuple[TradeTape, ...], list[BarSeries]]:
    """The tapes, by symbol, and the series of a run.

    Raises:
        ConfigError: a symbol without data, bars where the fill timing asks for trades or the other way round, a
            timeframe that is neither there nor can be made out of minutes.
    """
    by_trades = config.fill_timing is FillTiming.NEXT_TRADE
    wrong = sorted({each.symbol for each in data if isinstance(each, TradeTape) != by_trades})
    if wrong:
        expected, got = ("trades", "bars") if by_trades else ("bars", "trades")
        raise ConfigError(
            f"fill timing {config.fill_timing}: expected {expected} as input, got {got} of {', '.join(wrong)}"
        )
    wanted = [each for each in data if each.symbol in config.traded]
    missing = sorted(set(config.traded) - {each.symbol for each in wanted})
    if missing:
        got = ", ".join(sorted({each.symbol for each in data})) or "none"
        raise ConfigError(f"data: expected some of {', '.join(missing)}, got {got}")
    tapes = [each for each in wanted if isinstance(each, TradeTape)]
    series = [_cut(each, config) for each in wanted if isinstance(each, BarSeries)]
    if by_trades:
        tapes = sorted((each.between(config.start_ts, config.end_ts) for each in tapes), key=lambda each: each.symbol)
        return tuple(tapes), [bars for tape in tapes for bars in tape.bars(config.timeframes)]
    return (), [*series, *(made for symbol in sorted(set(config.traded)) for made in _made(symbol, config, series))]


def _made(symbol: str, config: BacktestConfig, series: Sequence[BarSeries]) -> list[BarSeries]:
    """The timeframes that are asked for and not there, out of minutes."""
    there = {each.timeframe: each for each in series if each.symbol == symbol}
    shortest = min(timeframe_ns(name) for name in there)
    missing = [name for name in config.timeframes if name not in there and timeframe_ns(name) > shortest]
    minutes = next((each for name, each in there.items() if timeframe_ns(name) == NS_PER_MINUTE), None)
    if not missing:
        return []
    if minutes is None:
        raise ConfigError(f"{symbol}: expected bars of {', '.join(missing)}, or of 1m to make them, got {list(there)}")
    return longer_bars(minutes, missing)


def _cut(series: BarSeries, config: BacktestConfig) -> BarSeries:
    """The same object when nothing is cut, so that its events are made once only."""
    if config.start_ts <= series.ts_open[0] and (not config.end_ts or config.end_ts > series.ts_open[-1]):
        return series
    return series.between(config.start_ts, config.end_ts)
