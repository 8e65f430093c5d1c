"""The input of a run, made fit for it: the traded symbols, cut to its time, in the timeframes asked for."""

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
            timeframe that is neither there nor can be made out of minutes, tables whose times were taken for the start
            of the bars here and for the end there.
    """
    by_trades = config.fill_timing is FillTiming.NEXT_TRADE
    unfit = sorted({source.symbol for source in data if isinstance(source, TradeTape) != by_trades})
    if unfit:
        expected, got = ("trades", "bars") if by_trades else ("bars", "trades")
        raise ConfigError(
            f"fill timing {config.fill_timing}: expected {expected} as input, got {got} of {', '.join(unfit)}"
        )
    traded = [source for source in data if source.symbol in config.traded]
    missing = sorted(set(config.traded) - {source.symbol for source in traded})
    if missing:
        got = ", ".join(sorted({source.symbol for source in data})) or "none"
        raise ConfigError(f"data: expected some of {', '.join(missing)}, got {got}")
    tapes = [source for source in traded if isinstance(source, TradeTape)]
    if by_trades:
        cut = sorted((tape.between(config.start_ts, config.end_ts) for tape in tapes), key=lambda tape: tape.symbol)
        return tuple(cut), [bars for tape in cut for bars in tape.bars(config.timeframes)]
    series = [_cut(bars, config) for bars in traded if isinstance(bars, BarSeries)]
    check_stamps(series)
    return (), [*series, *(bars for symbol in sorted(set(config.traded)) for bars in _longer(symbol, config, series))]


def check_stamps(series: Sequence[BarSeries]) -> None:
    """Raises ConfigError for bars that may be one bar apart: by custom, times were taken for starts here, ends there.

    A bar that comes one bar early shows a strategy the future of the other symbol.
    """
    guesses = {bars.symbol: bars.stamp_guess for bars in series if bars.stamp_guess is not None}
    if len({guess.stamp for guess in guesses.values()}) > 1:
        readings = "; ".join(
            f"{symbol}: column {guess.column}, taken for the {guess.stamp} of the bar"
            for symbol, guess in guesses.items()
        )
        raise ConfigError(
            f"times: expected columns that all mean the same end of a bar, got {readings}; say what they are with "
            "--stamp open or --stamp close, once for all files or once for each (stamp= of from_file and from_frame)"
        )


def _longer(symbol: str, config: BacktestConfig, series: Sequence[BarSeries]) -> list[BarSeries]:
    """The timeframes that are asked for and not there, out of minutes."""
    by_timeframe = {bars.timeframe: bars for bars in series if bars.symbol == symbol}
    shortest = min(timeframe_ns(name) for name in by_timeframe)
    missing = [name for name in config.timeframes if name not in by_timeframe and timeframe_ns(name) > shortest]
    minutes = next((bars for name, bars in by_timeframe.items() if timeframe_ns(name) == NS_PER_MINUTE), None)
    if not missing:
        return []
    if minutes is None:
        raise ConfigError(
            f"{symbol}: expected bars of {', '.join(missing)}, or of 1m to make them, got {', '.join(by_timeframe)}"
        )
    return longer_bars(minutes, missing)


def _cut(series: BarSeries, config: BacktestConfig) -> BarSeries:
    """The same object when nothing is cut, so that its events are made once only."""
    if config.start_ts <= series.ts_open[0] and (not config.end_ts or config.end_ts > series.ts_open[-1]):
        return series
    return series.between(config.start_ts, config.end_ts)
