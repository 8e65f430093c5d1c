"""The event engine: the components that trade live, over recorded bars or trades.

``BacktestEngine`` assembles a run and reads its result; ``bar_loop`` and ``trade_loop`` feed the market data,
``order_router`` and ``trade_order_router`` carry the orders, ``backtest.fill_simulator`` is the venue on bars.
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
from backtest.engine.bar_loop import ClosePrices, FastBarLoop, Routes
from backtest.engine.clock_stream import ClockStream
from backtest.engine.order_router import OrderRouter
from backtest.engine.risk_check import VENUE, EngineRiskCheck, NoRiskCheck, RiskCheck
from backtest.engine.round_trips import round_trips
from backtest.engine.slots import CLOCK, Entrant, MakeStrategy, StrategySlot, slots_of
from backtest.engine.trade_loop import TradeLoop, with_clock
from backtest.engine.trade_order_router import HostedStrategies, TradeOrderRouter
from backtest.engine.trade_venue import TradeVenue, model_parameters
from backtest.equity_tracker import equity_columns
from backtest.fill_simulator import Booked, FillSimulator, with_fees
from backtest.metrics import measure
from backtest.metrics.formatting import counted
from backtest.metrics.trades import trades_of
from core.config.schema import RiskConfig
from core.contracts import Contract, FillEvent, OrderEvent, OrderUpdate, RiskDecision
from core.errors import ConfigError
from core.exact import ordered_sum
from core.instruments import Instrument, Instruments
from core.market.bars import BarAggregator
from risk.engine import RiskEngine
from risk.limits import RiskLimits
from strategies.orders.open_orders import OpenOrders
from strategies.orders.positions import StrategyPositions
from strategies.orders.prices import LastPrices
from strategies.registry import registered

_HASHED: Final = frozenset({OrderEvent, FillEvent})
StrategySlots = tuple[StrategySlot, ...]
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
        bar_loop: the loop that feeds the bars.
        event_log: every message of the latest run in order, from intents to fills.
        booked: its fills in integers.

    Raises:
        ConfigError: data, instruments and configuration do not fit together.
    """

    bar_loop: type[FastBarLoop] = FastBarLoop

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
        self._instruments = self._instruments_of(instruments)
        self._limits = limits or RiskLimits.of(RiskConfig())
        if callable(strategy):
            strategy = [Entrant(config.strategy_id, strategy, config.traded, config.params)]
        self._entrants = tuple(strategy)
        self._stream = ClockStream(self._series)
        self._grids = {
            series.symbol: PriceGrid.of(series, self._instruments[series.symbol]) for series in self._execution_series()
        }
        self.event_log: Sequence[Contract] = ()
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
        positions, orders = StrategyPositions(self._instruments), OpenOrders(self._instruments)
        run: Callable[[StrategyPositions, OpenOrders], tuple[StrategySlots, OrderRouter | TradeOrderRouter]]
        run = self._run_trades if self._tapes else self._run_bars
        slots, router = run(positions, orders)
        self.event_log, self.booked = router.event_log, router.venue.booked
        return self._result(router, [*(reason for slot in slots for reason in slot.refused), *router.refused])

    def _run_bars(self, positions: StrategyPositions, orders: OpenOrders) -> tuple[StrategySlots, OrderRouter]:
        prices = ClosePrices(self._grids)
        slots = slots_of(self._entrants, positions, orders, prices, self._instruments)
        venue = FillSimulator(self.config, self._grids)
        router = OrderRouter({slot.strategy_id: slot for slot in slots}, self._risk_check(), venue, positions, orders)
        routes: Routes = tuple(
            tuple(slot for slot in slots if slot.wants(f"md.ohlcv.{series.timeframe}.{series.symbol}", series.symbol))
            for series in self._stream.series
        )
        self.bar_loop(self._stream, routes, router, prices).run()
        return slots, router

    def _run_trades(self, positions: StrategyPositions, orders: OpenOrders) -> tuple[StrategySlots, TradeOrderRouter]:
        config, prices = self.config, LastPrices()
        slots = slots_of(self._entrants, positions, orders, prices.view, self._instruments)
        venue = TradeVenue(
            Instruments(with_fees(instrument, config) for instrument in self._instruments.values()),
            config.fill_model,
            model_parameters(config),
            latency_ns=config.latency_ns,
            moments=self._stream.moments,
        )
        strategies = HostedStrategies(slots, positions, orders, prices)
        router = TradeOrderRouter(BarAggregator(config.timeframes), strategies, self._risk(), venue)
        on_clock = any(slot.wants(CLOCK, "") for slot in slots)
        TradeLoop(router, venue).run(with_clock([tape.trades for tape in self._tapes], each_second=on_clock))
        return slots, router

    # -- assembly -----------------------------------------------------------------------------------------

    def _execution_series(self) -> Iterable[BarSeries]:
        """Each symbol's series of the shortest timeframe, on which its orders fill."""
        shortest: dict[str, BarSeries] = {}
        for series in self._stream.series:  # shortest first
            shortest.setdefault(series.symbol, series)
        return shortest.values()

    def _risk_check(self) -> RiskCheck:
        risk = self._risk()
        return risk if isinstance(risk, NoRiskCheck) else EngineRiskCheck(risk, self._grids)

    def _risk(self) -> RiskEngine | NoRiskCheck:
        return RiskEngine(self._instruments, self._limits, VENUE) if self.config.risk else NoRiskCheck()

    def _instruments_of(self, configured: Instruments | None) -> Instruments:
        """The configured instruments, and one derived from the data, with a warning, for a symbol without one."""
        instruments: dict[str, Instrument] = dict(configured.items()) if configured is not None else {}
        for symbol in sorted({series.symbol for series in self._series}):
            if symbol not in instruments:
                derived = derived_instrument(series for series in self._series if series.symbol == symbol)
                instruments[symbol] = derived
                self.warnings.append(
                    f"{symbol}: no instrument configured; traded in steps of {derived.tick_size:f} (price) and "
                    f"{derived.lot_size:f} (quantity), as the data suggests, without a minimum notional"
                )
        quotes = sorted({instruments[series.symbol].quote for series in self._series})
        if len(quotes) > 1:
            raise ConfigError(f"symbols: expected one quote currency, in which equity is counted, got {quotes}")
        return Instruments(instruments[symbol] for symbol in sorted(instruments))

    # -- result -------------------------------------------------------------------------------------------

    def _result(self, router: OrderRouter | TradeOrderRouter, refusals: Sequence[str]) -> BacktestResult:
        config, venue, event_log = self.config, router.venue, router.event_log
        times, equity = equity_columns(config.initial_capital, self._grids, self._stream.times, venue.booked)
        trips = round_trips(venue.booked, self._grids)
        metrics = measure(times, equity, trades_of(trips), initial_capital=config.initial_capital)
        messages = _by_type(event_log)
        denials = [decision for decision in messages[RiskDecision] if not decision.allowed]
        refused = Counter(
            [
                *(str(decision.code) for decision in denials),
                *(_code(update.reason) for update in messages[OrderUpdate] if update.status == "rejected"),
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
            fills=PlainForms(messages[FillEvent]),
            orders=PlainForms(messages[OrderEvent]),
            fees_paid=ordered_sum(trip.fees for trip in trips),
            denied=len(denials),
            refused=dict(sorted(refused.items())),
            bars=len(self._stream),
            warnings=(*self.warnings, *self._remarks(router, refusals)),
            fingerprints=self._fingerprints(event_log),
        )

    def _remarks(self, router: OrderRouter | TradeOrderRouter, refusals: Sequence[str]) -> list[str]:
        remarks = []
        gaps = sum(series.gaps for series in self._series)
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
        still_open = len(router.venue.left_open())
        if still_open:
            remarks.append(f"{counted(still_open, 'order')} still open at the end")
        return remarks

    def _fingerprints(self, event_log: Sequence[Contract]) -> Fingerprints:
        setup: dict[str, Any] = {
            "config": {**self.config.to_dict(), "symbol": "", "symbols": sorted(self.config.traded)},
            "limits": self._limits.caps() if self.config.risk else None,
            "usd_rates": dict(self._limits.usd_rates),
            "instruments": [
                [i.symbol, str(i.tick_size), str(i.lot_size), str(i.min_notional)] for i in self._instruments.values()
            ],
            "strategies": [
                [e.strategy_id, sorted(e.symbols), dict(e.params), list(e.events)]
                for e in sorted(self._entrants, key=lambda entrant: entrant.strategy_id)
            ],
        }
        return Fingerprints(
            data=fingerprints.of_data([*self._series, *self._tapes]),
            config=fingerprints.of_config(setup),
            code=fingerprints.of_code(entrant.make for entrant in self._entrants),
            orders=fingerprints.of_orders([message for message in event_log if type(message) in _HASHED]),
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


def _by_type(event_log: Iterable[Contract]) -> dict[type[Contract], list[Any]]:
    messages: dict[type[Contract], list[Any]] = defaultdict(list)
    for message in event_log:
        messages[type(message)].append(message)
    return messages


def _code(reason: str) -> str:
    return reason.partition(":")[0]
