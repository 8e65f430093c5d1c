"""A recorded session through the event engine: its trades alone, next-trade fills, the paper venue's fill model.

What the engine does otherwise than the fleet is told with the trail, so that a reader can tell a difference of rules
from one of the run: ``RULES`` and whatever of the configuration the engine cannot follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from backtest.contracts import BacktestConfig, FillTiming
from backtest.engine import BacktestEngine
from backtest.parity_market import RecordedMarket, SessionFiles
from backtest.parity_trail import Trail, trail_of
from backtest.seats import Entrant
from backtest.trade_tape import from_trade_journals
from core.bars import timeframe_ns
from core.config_model import Config
from core.errors import ConfigError
from core.instruments import Instruments
from risk.limits import RiskLimits
from strategies.registry import StrategyRegistry

RULES: Final = (
    "the engine knows no clock between trades, and no kill switch",
    "the engine takes trades by their time, the fleet by their numbers and times of receipt",
    "the engine tells a strategy what a trade filled before it shows it the trade, the fleet the other way round",
)


def engine_trail(folder: Path, config: Config, name: str = "event engine") -> Trail:
    """Run a session's strategies over its trades in the event engine, latency 0.

    Raises:
        ConfigError: no session there, instruments with fees of their own, strategies that cannot be built.
        StrategyFailedError, EndlessAnswersError: a strategy failed.
    """
    files = SessionFiles.at(folder)
    instruments = config.instruments_table()
    market = RecordedMarket(files, instruments)
    entrants = tuple(_entrants(config, market.symbols))
    if not entrants:
        raise ConfigError(f"{folder}: expected an enabled strategy for one of {', '.join(market.symbols)}, got none")
    traded = tuple(symbol for symbol in market.symbols if any(symbol in each.symbols for each in entrants))
    tapes = [from_trade_journals(files.journals, symbol) for symbol in traded]
    engine = BacktestEngine(
        _run_config(config, instruments, traded, entrants[0].strategy_id),
        entrants,
        tapes,
        instruments,
        RiskLimits.of(config.risk),
    )
    result = engine.run()
    return trail_of(name, engine.trail, market.last_prices(), (*RULES, *_not_followed(config), *result.warnings))


def _entrants(config: Config, symbols: tuple[str, ...]) -> Iterator[Entrant]:
    registry = StrategyRegistry()
    for entry in config.strategies:
        traded = tuple(symbol for symbol in entry.symbols if symbol in symbols)
        if entry.enabled and traded:
            yield Entrant(entry.id, registry.resolve(entry.class_path), traded, dict(entry.params), entry.events)


def _run_config(config: Config, instruments: Instruments, traded: tuple[str, ...], strategy_id: str) -> BacktestConfig:
    fees = {(instruments[symbol].taker_fee, instruments[symbol].maker_fee) for symbol in traded}
    if len(fees) > 1:
        raise ConfigError(
            f"instruments: expected the same fees for {', '.join(traded)}, for the event engine knows one commission "
            "for all; replay the session instead"
        )
    ((taker, maker),) = fees
    return BacktestConfig(
        symbol=traded[0],
        strategy_id=strategy_id,
        start_ts=0,
        end_ts=0,
        initial_capital=config.paper.starting_cash,
        commission_rate=float(taker),
        slippage_bps=0.0,
        maker_rate=float(maker),
        fill_timing=FillTiming.NEXT_TRADE,
        timeframes=tuple(sorted(config.bars.timeframes, key=timeframe_ns)),
        symbols=traded,
        fill_model=config.paper.fill_model,
    )


def _not_followed(config: Config) -> Iterator[str]:
    """What of the configuration makes the engine fill otherwise than the paper venue."""
    paper = config.paper
    if paper.fill_model == "last_trade":
        yield "last_trade fills at the price of the decision in the fleet, at the next trade in the engine"
    elif paper.participation != 1:
        yield f"paper.participation is {paper.participation:g} in the fleet, 1 in the engine"
