"""The event engine: the objects that trade live, over recorded bars, with every rule of time and fills spelled out.

``BacktestEngine`` puts a run together and reads the result out of it; the stream runs in
``backtest.engine.lane``, orders live in ``backtest.engine.desk`` and ``backtest.fill_simulator``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from backtest.contracts import BacktestConfig, BacktestResult, EquityCurve, Fingerprints, PlainForms
from backtest.data import fingerprints
from backtest.data.gc_pause import seldom_collecting
from backtest.data.input_data import prepared
from backtest.data.price_grid import PriceGrid, derived_instrument
from backtest.data.series import BarSeries
from backtest.data.trade_tape import TradeTape
from backtest.engine.clock_stream import ClockStream
from backtest.engine.desk import Desk
from backtest.engine.lane import ClosePrices, FastLane, Routes
from backtest.engine.risk_gate import VENUE, Gate, OpenGate, RiskGate
from backtest.engine.round_trips import round_trips
from backtest.engine.seats import CLOCK, Entrant, MakeStrategy, Seat, seats_of
from backtest.engine.trade_desk import SeatedStrategies, TradeDesk
from backtest.engine.trade_lane import TradeLane, with_clock
from backtest.engine.trade_venue import TradeVenue, model_parameters
from backtest.equity_tracker import equity_columns
from backtest.fill_simulator import Booked, FillSimulator, with_fees
from backtest.metrics import measure
from backtest.metrics.formatting import counted
from backtest.metrics.trades import trades_of
from core.config.schema import RiskConfig
from core.contracts import Contract, FillEvent, OrderEvent, OrderUpdate, RiskDecision
from core.errors import ConfigError
from core.instruments import Instrument, Instruments
from core.market.bars import BarAggregator
from risk.engine import RiskEngine
from risk.limits import RiskLimits
from strategies.orders.open_orders import OpenOrders
from strategies.orders.positions import StrategyPositions
from strategies.orders.prices import LastPrices
from strategies.registry import registered

_HASHED: Final = frozenset({OrderEvent, FillEvent})
Seats = tuple[Seat, ...]
Data = BarSeries | TradeTape | Iterable[BarSeries | TradeTape]


class BacktestEngine:
    """One run over bars.

    Args:
        config: the run.
        strategy: a class, any function from context to strategy, or several ``Entrant``s.
        data: one series or more; each traded symbol's shortest one is what its orders fill on. With the fill timing
            ``next_trade``, a tape of trades per symbol. Timeframes of the configuration that are not there are made out
            of minutes.
        instruments: grids and minimum notionals; fees are the configuration's. A symbol without one trades on the grid
            of its prices, and the result warns of it.
        limits: of the risk engine; without them, the defaults of the configuration.

    Attributes:
        trail: every message of the latest run in order: intents, decisions, orders, cancels, updates, fills, states.
        booked: its fills in integers.

    Raises:
        ConfigError: data, instruments and configuration do not fit together.
    """

    lane: type[FastLane] = FastLane

    def __init__(
        self,
        config: BacktestConfig,
        strategy: MakeStrategy | Sequence[Entrant],
        data: Data,
        instruments: Instruments | None = None,
        limits: RiskLimits | None = None,
    ) -> None:
        self.config = config
        self.warnings: list[str] = []
        self._tapes, self._series = prepared(config, [data] if isinstance(data, BarSeries | TradeTape) else list(data))
        self._instruments = self._known_instruments(instruments)
        self._limits = limits or RiskLimits.of(RiskConfig())
        if callable(strategy):
            strategy = [Entrant(config.strategy_id, strategy, config.traded, config.params)]
        self._entrants = tuple(strategy)
        self._stream = ClockStream(self._series)
        self._grids = {each.symbol: PriceGrid.of(each, self._instruments[each.symbol]) for each in self._shortest()}
        self.trail: Sequence[Contract] = ()
        self.booked: Sequence[Booked] = ()

    def run(self) -> BacktestResult:
        """From the first bar to the last; every call starts afresh.

        Raises:
            StrategyFailedError: a strategy raised.
            EndlessAnswersError: strategies answered their own orders without end.
        """
        with seldom_collecting():
            return self._run()

    def _run(self) -> BacktestResult:
        books, orders = StrategyPositions(self._instruments), OpenOrders(self._instruments)
        run: Callable[[StrategyPositions, OpenOrders], tuple[Seats, Desk | TradeDesk]]
        run = self._run_trades if self._tapes else self._run_bars
        seats, desk = run(books, orders)
        self.trail, self.booked = desk.trail, desk.venue.booked
        return self._result(desk, [*(reason for seat in seats for reason in seat.refused), *desk.refused])

    def _run_bars(self, books: StrategyPositions, orders: OpenOrders) -> tuple[Seats, Desk]:
        prices = ClosePrices(self._grids)
        seats = seats_of(self._entrants, books, orders, prices, self._instruments)
        venue = FillSimulator(self.config, self._grids)
        desk = Desk({seat.strategy_id: seat for seat in seats}, self._gate(), venue, books, orders)
        routes: Routes = tuple(
            tuple(seat for seat in seats if seat.wants(f"md.ohlcv.{each.timeframe}.{each.symbol}", each.symbol))
            for each in self._stream.series
        )
        self.lane(self._stream, routes, desk, prices).run()
        return seats, desk

    def _run_trades(self, books: StrategyPositions, orders: OpenOrders) -> tuple[Seats, TradeDesk]:
        config, prices = self.config, LastPrices()
        seats = seats_of(self._entrants, books, orders, prices.view, self._instruments)
        venue = TradeVenue(
            Instruments(with_fees(each, config) for each in self._instruments.values()),
            config.fill_model,
            model_parameters(config),
            latency_ns=config.latency_ns,
            moments=self._stream.moments,
        )
        strategies = SeatedStrategies(seats, books, orders, prices)
        desk = TradeDesk(BarAggregator(config.timeframes), strategies, self._risk(), venue)
        on_clock = any(seat.wants(CLOCK, "") for seat in seats)
        TradeLane(desk, venue).run(with_clock([tape.trades for tape in self._tapes], each_second=on_clock))
        return seats, desk

    # -- putting it together ------------------------------------------------------------------------------

    def _shortest(self) -> Iterable[BarSeries]:
        """Each symbol's shortest series."""
        seen: dict[str, BarSeries] = {}
        for each in self._stream.series:  # shortest first
            seen.setdefault(each.symbol, each)
        return seen.values()

    def _gate(self) -> Gate:
        risk = self._risk()
        return risk if isinstance(risk, OpenGate) else RiskGate(risk, self._grids)

    def _risk(self) -> RiskEngine | OpenGate:
        return RiskEngine(self._instruments, self._limits, VENUE) if self.config.risk else OpenGate()

    def _known_instruments(self, given: Instruments | None) -> Instruments:
        known: dict[str, Instrument] = dict(given.items()) if given is not None else {}
        for symbol in sorted({each.symbol for each in self._series}):
            if symbol not in known:
                found = derived_instrument(each for each in self._series if each.symbol == symbol)
                known[symbol] = found
                self.warnings.append(
                    f"{symbol}: no instrument configured; traded in steps of {found.tick_size:f} (price) and "
                    f"{found.lot_size:f} (quantity), as the data suggests, without a minimum notional"
                )
        quotes = sorted({known[each.symbol].quote for each in self._series})
        if len(quotes) > 1:
            raise ConfigError(f"symbols: expected one quote currency, in which equity is counted, got {quotes}")
        return Instruments(known[symbol] for symbol in sorted(known))

    # -- reading it out -----------------------------------------------------------------------------------

    def _result(self, desk: Desk | TradeDesk, refusals: Sequence[str]) -> BacktestResult:
        config, venue, trail = self.config, desk.venue, desk.trail
        times, equity = equity_columns(config.initial_capital, self._grids, self._stream.times, venue.booked)
        trips = round_trips(venue.booked, self._grids)
        metrics = measure(times, equity, trades_of(trips), initial_capital=config.initial_capital)
        said = _by_kind(trail)
        denials = [each for each in said[RiskDecision] if not each.allowed]
        refused = Counter(
            [
                *(str(each.code) for each in denials),
                *(_code(each.reason) for each in said[OrderUpdate] if each.status == "rejected"),
                *("REFUSED_ANSWER" for _ in refusals),
            ]
        )
        return BacktestResult(
            strategy_id=config.strategy_id,
            symbol=config.symbol,
            start_ts=self._series[0].ts_open[0].item() if not config.start_ts else config.start_ts,
            end_ts=config.end_ts or times[-1].item(),
            initial_capital=config.initial_capital,
            final_capital=equity[-1].item(),
            total_return_pct=metrics["total_return_pct"],
            sharpe_ratio=metrics["sharpe_ratio"],
            max_drawdown_pct=metrics["max_drawdown_pct"],
            num_trades=sum(not trip.is_open for trip in trips),
            win_rate=metrics["win_rate"],
            profit_factor=metrics["profit_factor"],
            equity_curve=EquityCurve(times, equity),
            config=config,
            metrics=metrics,
            round_trips=trips,
            fills=PlainForms(said[FillEvent]),
            orders=PlainForms(said[OrderEvent]),
            fees_paid=sum(trip.fees for trip in trips),
            denied=len(denials),
            refused=dict(sorted(refused.items())),
            bars=len(self._stream),
            warnings=(*self.warnings, *self._remarks(desk, refusals)),
            fingerprints=self._fingerprints(trail),
        )

    def _remarks(self, desk: Desk | TradeDesk, refusals: Sequence[str]) -> list[str]:
        remarks = []
        gaps = sum(each.gaps for each in self._series)
        if gaps:
            remarks.append(f"the bars have {counted(gaps, 'gap')}; nothing fills within one")
        remarks += [
            f"{grid.symbol}: {grid.off_grid} prices lie off the grid of {grid.instrument.tick_size:f}; venue and "
            "equity take them at the nearest step"
            for grid in self._grids.values()
            if grid.off_grid
        ]
        if refusals:
            remarks.append(f"{counted(len(refusals), 'answer')} of strategies refused, the first one: {refusals[0]}")
        left = len(desk.venue.left_open())
        if left:
            remarks.append(f"{counted(left, 'order')} still open at the end")
        return remarks

    def _fingerprints(self, trail: Sequence[Contract]) -> Fingerprints:
        setup: dict[str, Any] = {
            "config": {**self.config.to_dict(), "symbol": "", "symbols": sorted(self.config.traded)},
            "limits": self._limits.caps() if self.config.risk else None,
            "usd_rates": dict(self._limits.usd_rates),
            "instruments": [
                [i.symbol, str(i.tick_size), str(i.lot_size), str(i.min_notional)] for i in self._instruments.values()
            ],
            "strategies": [
                [e.strategy_id, sorted(e.symbols), dict(e.params), list(e.events)]
                for e in sorted(self._entrants, key=lambda each: each.strategy_id)
            ],
        }
        return Fingerprints(
            data=fingerprints.of_data([*self._series, *self._tapes]),
            config=fingerprints.of_config(setup),
            code=fingerprints.of_code(entrant.make for entrant in self._entrants),
            orders=fingerprints.of_orders([each for each in trail if type(each) in _HASHED]),
        )


def run_backtest(
    config: BacktestConfig,
    data: Data,
    strategies: MakeStrategy | Sequence[Entrant] | None = None,
    *,
    instruments: Instruments | None = None,
    limits: RiskLimits | None = None,
) -> BacktestResult:
    """Run once, the sample registered under ``config.strategy_id`` unless told otherwise. Raises as the engine does."""
    return BacktestEngine(config, strategies or registered(config.strategy_id), data, instruments, limits).run()


def _by_kind(trail: Iterable[Contract]) -> dict[type[Contract], list[Any]]:
    """The messages of a run by what they are."""
    found: dict[type[Contract], list[Any]] = defaultdict(list)
    for each in trail:
        found[type(each)].append(each)
    return found


def _code(reason: str) -> str:
    return reason.partition(":")[0]
