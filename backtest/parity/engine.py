"""A recorded session through the event engine: what its fleet heard, in the engine's own rounds and at its own venue.

Both come to the same intents, decisions, fills and money; ``njord-ctl diff --engine`` holds them against each other.
Only a strategy that fails parts them: the engine ends there, the fleet goes on without its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from backtest.contracts import BacktestConfig, FillTiming
from backtest.data.trade_tape import from_trade_journals
from backtest.engine import BacktestEngine
from backtest.engine.event_engine import Seats
from backtest.engine.seats import Entrant, seats_of
from backtest.engine.trade_desk import SeatedStrategies, TradeDesk
from backtest.engine.trade_venue import TradeVenue
from backtest.parity.interventions import interventions
from backtest.parity.market import RecordedMarket, SessionFiles
from backtest.parity.session_replay import SessionRun, UnwrittenJournals
from backtest.parity.trail import Trail, trail_of
from core import topics
from core.component import Message
from core.config.model import Config
from core.contracts import Contract
from core.errors import ConfigError
from core.market.bars import BarAggregator
from core.market.ingest import MarketDataIngest
from core.service.host import ComponentHost
from core.timeframes import timeframe_ns
from risk.limits import RiskLimits
from strategies.orders.open_orders import OpenOrders
from strategies.orders.positions import StrategyPositions
from strategies.orders.prices import LastPrices
from strategies.registry import StrategyRegistry


def engine_trail(folder: Path, config: Config, name: str = "event engine") -> Trail:
    """Run a session's strategies over what its fleet heard in the event engine, latency 0.

    Raises:
        ConfigError: no session there, strategies that cannot be built.
        StrategyFailedError, EndlessAnswersError: a strategy failed.
        LedgerCorruptError, CodecError, FatalError: its files cannot be read.
    """
    files = SessionFiles.at(folder)
    market = RecordedMarket(files, config.instruments_table())
    entrants = tuple(_entrants(config, market.symbols))
    if not entrants:
        raise ConfigError(f"{folder}: expected an enabled strategy for one of {', '.join(market.symbols)}, got none")
    engine = SessionEngine(files, market, config, entrants)
    engine.run()
    return trail_of(name, engine.trail, market.last_prices())


class SessionEngine(BacktestEngine):
    """The event engine told what a fleet was told: the same market events and clock, the kill switch where it was
    pulled, the venue's fees by instrument."""

    def __init__(
        self, files: SessionFiles, market: RecordedMarket, config: Config, entrants: Sequence[Entrant]
    ) -> None:
        traded = tuple(s for s in market.symbols if any(s in entrant.symbols for entrant in entrants))
        tapes = [from_trade_journals(files.journals, symbol) for symbol in traded]
        limits = RiskLimits.of(config.risk)
        super().__init__(_run_config(config, traded, entrants), entrants, tapes, config.instruments_table(), limits)
        self._instruments = config.instruments_table()  # the fleet's risk engine hears of all
        self._files = files
        self._market = market
        self._fleet_config = config

    def _run_trades(self, books: StrategyPositions, orders: OpenOrders) -> tuple[Seats, TradeDesk]:
        fleet, prices = self._fleet_config, LastPrices()
        seats = seats_of(self._entrants, books, orders, prices.view, self._instruments)
        named = [entrant.strategy_id for entrant in self._entrants]
        seats = tuple(sorted(seats, key=lambda seat: named.index(seat.strategy_id)))  # the fleet asks in this order
        paper = fleet.paper
        parameters = {"participation": paper.participation} if paper.fill_model == "trade_flow" else {}
        venue = TradeVenue(self._instruments, paper.fill_model, parameters, moments=self._stream.moments)
        bars = BarAggregator(fleet.bars.timeframes, fleet.bars.grace_ms)
        desk = _ToldDesk(bars, SeatedStrategies(seats, books, orders, prices), self._risk(), venue)
        ingest = MarketDataIngest(
            self._instruments, self._market.symbols, backfill=self._market.live,
            contiguous=fleet.exchange.contiguous_ids,
        )  # fmt: skip
        source = ComponentHost(ingest, UnwrittenJournals(self._files.journals))
        run = SessionRun(_EngineFleet(source, desk), interventions(self._files))
        desk.observe = run.observe
        run.through(self._market.events())
        return seats, desk


class _ToldDesk(TradeDesk):
    """Tells an observer of every round before it is taken, as the embedded fleet does."""

    observe: Callable[[Sequence[Message]], None]

    def _round(self, messages: Sequence[Contract]) -> list[Contract]:
        self.observe([Message(topics.topic_of(each), each) for each in messages])
        return super()._round(messages)


class _EngineFleet:
    """What a session's events are fed to, in place of the embedded fleet."""

    def __init__(self, source: ComponentHost, desk: TradeDesk) -> None:
        self.source = source
        self._desk = desk

    def recover(self) -> None:
        """There is nothing to recover."""

    def feed(self, event: Contract) -> Sequence[Contract]:
        """See ``ToldFleet``."""
        if heard := [message.event for message in self.source.handle_local(event) if message.topic]:
            self._desk.hear(heard)
        return ()

    def tell_some(self, daemons: Sequence[str], event: Contract) -> None:
        """See ``ToldFleet``."""
        self._desk.tell(daemons, event)

    def close(self) -> None:
        """Nothing was opened."""


def _entrants(config: Config, symbols: tuple[str, ...]) -> Iterator[Entrant]:
    registry = StrategyRegistry()
    for entry in config.strategies:
        if entry.enabled and any(symbol in symbols for symbol in entry.symbols):
            yield Entrant(entry.id, registry.resolve(entry.class_path), entry.symbols, dict(entry.params), entry.events)


def _run_config(config: Config, traded: tuple[str, ...], entrants: Sequence[Entrant]) -> BacktestConfig:
    """The run as far as a backtest can be described; fees are each instrument's own here."""
    fees, paper = config.instruments[traded[0]], config.paper
    return BacktestConfig(
        symbol=traded[0],
        strategy_id=entrants[0].strategy_id,
        start_ts=0,
        end_ts=0,
        initial_capital=paper.starting_cash,
        commission_rate=float(fees.taker_fee),
        slippage_bps=0.0,
        maker_rate=float(fees.maker_fee),
        fill_timing=FillTiming.NEXT_TRADE,
        timeframes=tuple(sorted(config.bars.timeframes, key=timeframe_ns)),
        symbols=traded,
        fill_model=paper.fill_model,
        participation=paper.participation if paper.fill_model == "trade_flow" else 1.0,
    )
