"""The session engine: a recorded session's market data through the event engine, in its rounds and at its venue.

Both come to the same intents, decisions, fills and money; ``njord-ctl diff --engine`` holds them against each other.
They differ only when a strategy fails: the engine ends there, the fleet continues without its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from backtest.contracts import BacktestConfig, FillTiming
from backtest.data.trade_tape import from_trade_journals
from backtest.engine import BacktestEngine
from backtest.engine.event_engine import StrategySlots
from backtest.engine.slots import Entrant, slots_of
from backtest.engine.trade_order_router import HostedStrategies, TradeOrderRouter
from backtest.engine.trade_venue import TradeVenue
from backtest.parity.event_log import EventLog, event_log_of
from backtest.parity.interventions import interventions
from backtest.parity.market import RecordedMarket, SessionFiles
from backtest.parity.session_replay import SessionRun, UnwrittenJournals
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


def engine_event_log(folder: Path, config: Config, name: str = "event engine") -> EventLog:
    """Run a session's strategies over its recorded market data in the event engine, latency 0.

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
    return event_log_of(name, engine.event_log, market.last_prices())


class SessionEngine(BacktestEngine):
    """The event engine with the inputs of a fleet: its market events, clock, kill switch and fees by instrument."""

    def __init__(
        self, files: SessionFiles, market: RecordedMarket, config: Config, entrants: Sequence[Entrant]
    ) -> None:
        traded = tuple(s for s in market.symbols if any(s in entrant.symbols for entrant in entrants))
        tapes = [from_trade_journals(files.journals, symbol) for symbol in traded]
        limits = RiskLimits.of(config.risk)
        super().__init__(_run_config(config, traded, entrants), entrants, tapes, config.instruments_table(), limits)
        self._instruments = config.instruments_table()  # the fleet's risk engine has them all
        self._files = files
        self._market = market
        self._fleet_config = config

    def _run_trades(self, positions: StrategyPositions, orders: OpenOrders) -> tuple[StrategySlots, TradeOrderRouter]:
        fleet, prices = self._fleet_config, LastPrices()
        slots = slots_of(self._entrants, positions, orders, prices.view, self._instruments)
        named = [entrant.strategy_id for entrant in self._entrants]
        slots = tuple(sorted(slots, key=lambda slot: named.index(slot.strategy_id)))  # the fleet asks in this order
        paper = fleet.paper
        parameters = {"participation": paper.participation} if paper.fill_model == "trade_flow" else {}
        venue = TradeVenue(self._instruments, paper.fill_model, parameters, moments=self._stream.moments)
        bars = BarAggregator(fleet.bars.timeframes, fleet.bars.grace_ms)
        router = _ObservedRouter(bars, HostedStrategies(slots, positions, orders, prices), self._risk(), venue)
        ingest = MarketDataIngest(
            self._instruments, self._market.symbols, backfill=self._market.live,
            contiguous=fleet.exchange.contiguous_ids,
        )  # fmt: skip
        source = ComponentHost(ingest, UnwrittenJournals(self._files.journals))
        run = SessionRun(_EngineFleet(source, router), interventions(self._files))
        router.observe = run.observe
        run.through(self._market.events())
        return slots, router


class _ObservedRouter(TradeOrderRouter):
    """Shows every round to an observer first, as the embedded fleet does."""

    observe: Callable[[Sequence[Message]], None]

    def _round(self, messages: Sequence[Contract]) -> list[Contract]:
        self.observe([Message(topics.topic_of(message), message) for message in messages])
        return super()._round(messages)


class _EngineFleet:
    """The engine in place of the embedded fleet, for ``SessionRun``."""

    def __init__(self, source: ComponentHost, router: TradeOrderRouter) -> None:
        self.source = source
        self._router = router

    def recover(self) -> None:
        """A no-op: the engine has no state on disk."""

    def feed(self, event: Contract) -> Sequence[Contract]:
        """See ``FedFleet``."""
        if events := [message.event for message in self.source.handle_local(event) if message.topic]:
            self._router.on_market_events(events)
        return ()

    def tell_some(self, daemons: Sequence[str], event: Contract) -> None:
        """See ``FedFleet``."""
        self._router.deliver_local(daemons, event)

    def close(self) -> None:
        """A no-op: the engine opens no file."""


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
