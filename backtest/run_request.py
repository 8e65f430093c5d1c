"""A command line made into a run: configuration read, strategy found, data loaded. Every error names its option."""

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
from backtest.data.series import BarSeries, from_file, from_journals
from backtest.data.trade_tape import TradeTape, from_trade_journals
from backtest.engine.slots import CLOCK, EVERYTHING, Entrant
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
    """All that a run takes.

    Attributes:
        name: what its files are called by.
        folder: where they go.
        journals: where the data was read from; None when it came otherwise.
    """

    config: BacktestConfig
    data: tuple[BarSeries | TradeTape, ...]
    entrants: tuple[Entrant, ...]
    instruments: Instruments
    limits: RiskLimits
    name: str
    folder: Path
    journals: Path | None = None

    @classmethod
    def of(cls, chosen: argparse.Namespace) -> RunRequest:
        """What the arguments ask for. Raises ConfigError."""
        installation = _installation(chosen)
        symbols = tuple(dict.fromkeys(chosen.symbol))
        entry = next((each for each in installation.strategies if each.id == chosen.strategy), None)
        params = {**(dict(entry.params) if entry is not None else {}), **dict(chosen.param)}
        config = BacktestConfig(
            symbol=symbols[0],
            strategy_id=chosen.strategy,
            start_ts=chosen.start,
            end_ts=chosen.end,
            initial_capital=chosen.capital,
            commission_rate=chosen.commission,
            slippage_bps=chosen.slippage,
            maker_rate=chosen.maker_rate,
            slippage_model=chosen.slippage_model,
            fill_timing=FillTiming(chosen.fill),
            latency_ns=round(chosen.latency_ms * NS_PER_MS),
            timeframes=_timeframes(chosen.timeframe),
            symbols=symbols if len(symbols) > 1 else (),
            params=params,
            risk=not chosen.no_risk,
            seed=chosen.seed,
            fill_model=chosen.fill_model,
            participation=chosen.participation,
        )
        make = _strategy_class(chosen, entry)
        data = tuple(_data(chosen, config, installation))
        return cls(
            config=config,
            data=data,
            entrants=(Entrant(chosen.strategy, make, symbols, params, _heard(chosen, config, entry)),),
            instruments=_instruments(chosen, installation, data),
            limits=RiskLimits.of(installation.risk),
            name=f"{chosen.strategy}_{'-'.join(file_symbol(symbol) for symbol in symbols)}".replace(":", ""),
            folder=chosen.out or installation.data_dir / "backtest",
            journals=None if chosen.data else chosen.journals or installation.log_dir,
        )


def _installation(chosen: argparse.Namespace) -> Config:
    """The configuration; the defaults where there is none and none was named."""
    if chosen.config is not None:
        return load_config(chosen.config.resolve().parent.parent, base=chosen.config)
    if chosen.config_root == Path() and not Path("config", "base.yaml").exists():
        return Config()
    return load_config(chosen.config_root)


def _timeframes(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    return tuple(sorted(names, key=timeframe_ns))


def _strategy_class(chosen: argparse.Namespace, entry: StrategyConfig | None) -> Any:
    path = chosen.class_path or (entry.class_path if entry is not None else None)
    return registered(chosen.strategy) if path is None else StrategyRegistry().resolve(path)


def _heard(chosen: argparse.Namespace, config: BacktestConfig, entry: StrategyConfig | None) -> tuple[str, ...]:
    """The topics that the strategy hears: those of ``--events``, else its bars. Where trades are the input, those of
    its entry come before, so that it hears what it hears live. Raises ConfigError when the run has none of them."""
    on_trades = config.fill_timing is FillTiming.NEXT_TRADE
    globs: tuple[str, ...] = ()
    if chosen.events is not None:
        globs, named = chosen.events, "--events"
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


def _data(chosen: argparse.Namespace, config: BacktestConfig, installation: Config) -> list[BarSeries | TradeTape]:
    files: Sequence[Path] = chosen.data or ()
    if files and config.fill_timing is FillTiming.NEXT_TRADE:
        raise ConfigError("--fill next_trade: expected trades, which are read from --journals, got --data with bars")
    if files and len(files) != len(config.traded):
        raise ConfigError(f"--data: expected one file for each --symbol, got {len(files)} for {len(config.traded)}")
    if files:
        return [
            from_file(file, symbol, config.timeframes[0], stamp=chosen.stamp)
            for file, symbol in zip(files, config.traded, strict=True)
        ]
    if chosen.stamp != "auto":
        raise ConfigError(
            f"--stamp {chosen.stamp}: expected --data with it; journals say when their bars begin and end"
        )
    folder = chosen.journals or installation.log_dir
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
    chosen: argparse.Namespace, installation: Config, data: Sequence[BarSeries | TradeTape]
) -> Instruments:
    known: dict[str, Instrument] = dict(installation.instruments_table().items())
    tick: Decimal | None = chosen.tick_size
    lot: Decimal | None = chosen.lot_size
    if tick is None and lot is None:
        return Instruments(known.values())
    for symbol in sorted({each.symbol for each in data}):
        found = known.get(symbol)
        if found is None and tick is not None and lot is not None:
            found = Instrument(symbol, tick, lot)
        elif found is None:
            series = [each for each in data if each.symbol == symbol and isinstance(each, BarSeries)]
            if not series:
                raise ConfigError(f"{symbol}: no instrument is configured; give both --tick-size and --lot-size")
            found = derived_instrument(series, tick_size=tick, lot_size=lot)
        known[symbol] = replace(found, tick_size=tick or found.tick_size, lot_size=lot or found.lot_size)
    return Instruments(known.values())
