"""The run that a command line asks for: configuration, strategy, data. Every error names its option."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from backtest.contracts import BacktestConfig, FillTiming
from backtest.data.price_grid import derived_instrument
from backtest.data.run_bars import stamps_of
from backtest.data.series import BarSeries, from_file, from_journals
from backtest.data.trade_tape import TradeTape, from_trade_journals
from backtest.engine.slots import CLOCK, EVERYTHING, Entrant, entry_of
from core.clock import NS_PER_MS
from core.config import Config, load_config
from core.config.schema import StrategyConfig
from core.errors import ConfigError
from core.instruments import Instrument, Instruments, file_symbol
from core.timeframes import timeframe_ns
from risk.limits import RiskLimits
from strategies.registry import StrategyRegistry, registered


@dataclass(frozen=True)
class RunRequest:
    """The parts of a run, ready for an engine. Raises ConfigError for an id or a symbol that no configuration has.

    Attributes:
        name: a part of the names of its files.
        folder: of its files.
        journals: the folder that the data was read from; None when it came otherwise.
    """

    config: BacktestConfig
    data: tuple[BarSeries | TradeTape, ...]
    entrants: tuple[Entrant, ...]
    instruments: Instruments
    limits: RiskLimits
    name: str
    folder: Path
    journals: Path | None = None

    def __post_init__(self) -> None:
        for entrant in self.entrants:
            entry_of(entrant)  # before anything is called by its id

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> RunRequest:
        """The run of these arguments. Raises ConfigError."""
        installation = _installation(arguments)
        symbols = tuple(dict.fromkeys(arguments.symbol))
        entry = next((entry for entry in installation.strategies if entry.id == arguments.strategy), None)
        params = {**(dict(entry.params) if entry is not None else {}), **dict(arguments.param)}
        config = BacktestConfig(
            symbol=symbols[0],
            strategy_id=arguments.strategy,
            start_ts=arguments.start,
            end_ts=arguments.end,
            initial_capital=arguments.capital,
            commission_rate=arguments.commission,
            slippage_bps=arguments.slippage,
            maker_rate=arguments.maker_rate,
            slippage_model=arguments.slippage_model,
            fill_timing=FillTiming(arguments.fill),
            latency_ns=round(arguments.latency_ms * NS_PER_MS),
            timeframes=_timeframes(arguments.timeframe),
            symbols=symbols if len(symbols) > 1 else (),
            params=params,
            risk=not arguments.no_risk,
            seed=arguments.seed,
            fill_model=arguments.fill_model,
            participation=arguments.participation,
        )
        make = _strategy_class(arguments, entry)
        data = tuple(_data(arguments, config, installation))
        return cls(
            config=config,
            data=data,
            entrants=(Entrant(arguments.strategy, make, symbols, params, _topics(arguments, config, entry)),),
            instruments=_instruments(arguments, installation, data),
            limits=RiskLimits.of(installation.risk),
            name=f"{arguments.strategy}_{'-'.join(file_symbol(symbol) for symbol in symbols)}".replace(":", ""),
            folder=arguments.out or installation.data_dir / "backtest",
            journals=None if arguments.data else arguments.journals or installation.log_dir,
        )


def _installation(arguments: argparse.Namespace) -> Config:
    """The configuration; the defaults where there is none and none was named."""
    if arguments.config is not None:
        return load_config(arguments.config.resolve().parent.parent, base=arguments.config)
    if arguments.config_root == Path() and not Path("config", "base.yaml").exists():
        return Config()
    return load_config(arguments.config_root)


def _timeframes(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    return tuple(sorted(names, key=timeframe_ns))


def _strategy_class(arguments: argparse.Namespace, entry: StrategyConfig | None) -> Any:
    path = arguments.class_path or (entry.class_path if entry is not None else None)
    return registered(arguments.strategy) if path is None else StrategyRegistry().resolve(path)


def _topics(arguments: argparse.Namespace, config: BacktestConfig, entry: StrategyConfig | None) -> tuple[str, ...]:
    """The topics that the strategy hears: those of ``--events``, else its bars. Where trades are the input, the topics
    of its entry come first, which are those that it hears live. Raises ConfigError when the run has none of them."""
    on_trades = config.fill_timing is FillTiming.NEXT_TRADE
    globs: tuple[str, ...] = ()
    if arguments.events is not None:
        globs, named = arguments.events, "--events"
    elif on_trades and entry is not None:
        globs, named = tuple(entry.events), f"strategy {entry.id!r}: its `events`"
    if not globs:
        return (*(f"md.ohlcv.{name}.*" for name in config.timeframes), CLOCK) if on_trades else EVERYTHING
    topics = [f"md.ohlcv.{name}.{symbol}" for symbol in config.traded for name in config.timeframes]
    if on_trades:
        topics += [*(f"md.trades.{symbol}" for symbol in config.traded), CLOCK]
    if not any(fnmatchcase(topic, glob) for topic in topics for glob in globs):
        others = "--timeframe names other bars" + ("" if on_trades else ", trades come with --fill next_trade")
        raise ConfigError(
            f"{named} are {', '.join(globs)}, expected one that this run gives: {', '.join(topics)}; {others}"
        )
    return globs


def _data(arguments: argparse.Namespace, config: BacktestConfig, installation: Config) -> list[BarSeries | TradeTape]:
    files: Sequence[Path] = arguments.data or ()
    if files and config.fill_timing is FillTiming.NEXT_TRADE:
        raise ConfigError("--fill next_trade: expected trades, which are read from --journals, got --data with bars")
    if files and len(files) != len(config.traded):
        raise ConfigError(f"--data: expected one file for each --symbol, got {len(files)} for {len(config.traded)}")
    if files:
        stamps = stamps_of(arguments.stamp, len(files))
        return [
            from_file(file, symbol, config.timeframes[0], stamp=stamp)
            for file, symbol, stamp in zip(files, config.traded, stamps, strict=True)
        ]
    if arguments.stamp:
        raise ConfigError(
            f"--stamp {arguments.stamp[0]}: expected --data with it; journals say when their bars begin and end"
        )
    folder = arguments.journals or installation.log_dir
    span = config.start_ts, config.end_ts
    if config.fill_timing is FillTiming.NEXT_TRADE:
        return [from_trade_journals(folder, symbol, *span) for symbol in config.traded]
    return [
        from_journals(folder, symbol, name, *span)
        for symbol in config.traded
        for name in config.timeframes
        if name == config.timeframes[0] or _journaled(folder, symbol, name)
    ]


def _journaled(folder: Path, symbol: str, timeframe: str) -> bool:
    from core.journal import JournalReader

    return f"ohlcv.{timeframe}.{file_symbol(symbol)}" in JournalReader(folder).streams()


def _instruments(
    arguments: argparse.Namespace, installation: Config, data: Sequence[BarSeries | TradeTape]
) -> Instruments:
    table: dict[str, Instrument] = dict(installation.instruments_table().items())
    tick: Decimal | None = arguments.tick_size
    lot: Decimal | None = arguments.lot_size
    if tick is None and lot is None:
        return Instruments(table.values())
    for symbol in sorted({source.symbol for source in data}):
        instrument = table.get(symbol)
        if instrument is None and tick is not None and lot is not None:
            instrument = Instrument(symbol, tick, lot)
        elif instrument is None:
            series = [bars for bars in data if bars.symbol == symbol and isinstance(bars, BarSeries)]
            if not series:
                raise ConfigError(f"{symbol}: no instrument is configured; give both --tick-size and --lot-size")
            instrument = derived_instrument(series, tick_size=tick, lot_size=lot)
        table[symbol] = replace(instrument, tick_size=tick or instrument.tick_size, lot_size=lot or instrument.lot_size)
    return Instruments(table.values())
