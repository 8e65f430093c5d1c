"""nautilus_trader: its averages registered for bars, market orders, a margin account in a currency of eight decimals.

Logging, risk checks and the analysis after the run are off. The engine is built once and reset between runs, which is
not timed. Bars are matched at their close before the strategy sees them, so that orders fill at that close.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from benchmarks.peers.protocol import CAPITAL, COMMISSION, Answer, Bars, Job, serve

_IMPORTS = ("nautilus_trader.backtest.engine", "nautilus_trader.trading.strategy", "nautilus_trader.indicators")
PRECISION = 3  # prices come in steps of 0.125


def make(bars: Bars, job: Job) -> Nautilus:
    """An engine with venue, instrument and bars."""
    # All of a peer's environment.
    from nautilus_trader.backtest.engine import (  # type: ignore[import-not-found]
        BacktestEngine,
        BacktestEngineConfig,
    )
    from nautilus_trader.common.config import LoggingConfig  # type: ignore[import-not-found]
    from nautilus_trader.model.currencies import BTC, USDT  # type: ignore[import-not-found]
    from nautilus_trader.model.data import Bar, BarType  # type: ignore[import-not-found]
    from nautilus_trader.model.enums import AccountType, OmsType  # type: ignore[import-not-found]
    from nautilus_trader.model.identifiers import InstrumentId, Venue  # type: ignore[import-not-found]
    from nautilus_trader.model.instruments import CurrencyPair  # type: ignore[import-not-found]
    from nautilus_trader.model.objects import Money, Price, Quantity  # type: ignore[import-not-found]
    from nautilus_trader.risk.config import RiskEngineConfig  # type: ignore[import-not-found]

    instrument_id = InstrumentId.from_str("BTCUSDT.SIM")
    engine = BacktestEngine(
        BacktestEngineConfig(
            logging=LoggingConfig(bypass_logging=True), risk_engine=RiskEngineConfig(bypass=True), run_analysis=False
        )
    )
    engine.add_venue(Venue("SIM"), OmsType.NETTING, AccountType.MARGIN, [Money(CAPITAL, USDT)], USDT, Decimal(10))
    rate = Decimal(str(COMMISSION))
    engine.add_instrument(
        CurrencyPair(
            instrument_id, instrument_id.symbol, BTC, USDT, PRECISION, 4, Price.from_str("0.125"),
            Quantity.from_str("0.0001"), 0, 0, margin_init=Decimal("0.1"), margin_maint=Decimal("0.1"),
            maker_fee=rate, taker_fee=rate,
        )
    )  # fmt: skip
    bar_type = BarType.from_str("BTCUSDT.SIM-1-MINUTE-LAST-EXTERNAL")
    rows = zip(*(getattr(bars, name).tolist() for name in ("open", "high", "low", "close", "ts_close")), strict=True)
    volume = Quantity(1_000_000, 4)
    engine.add_data(
        [Bar(bar_type, *(Price(price, PRECISION) for price in prices), volume, ts, ts) for *prices, ts in rows]
    )
    return Nautilus(engine, instrument_id, bar_type)


def _strategy() -> Any:
    from nautilus_trader.indicators import SimpleMovingAverage  # type: ignore[import-not-found]
    from nautilus_trader.model.enums import OrderSide
    from nautilus_trader.model.objects import Quantity
    from nautilus_trader.trading.strategy import Strategy  # type: ignore[import-not-found]

    class Cross(Strategy):  # type: ignore[misc]  # a peer's class
        def __init__(self, instrument_id: Any, bar_type: Any, fast: int, slow: int) -> None:
            super().__init__()
            self.instrument_id, self.bar_type = instrument_id, bar_type
            self.quick, self.calm = SimpleMovingAverage(fast), SimpleMovingAverage(slow)
            self.above: bool | None = None
            self.size = Quantity(1, 4)
            self.trips = 0

        def on_start(self) -> None:
            self.register_indicator_for_bars(self.bar_type, self.quick)
            self.register_indicator_for_bars(self.bar_type, self.calm)
            self.subscribe_bars(self.bar_type)

        def on_bar(self, bar: Any) -> None:
            if not self.calm.initialized:
                return
            quick, calm = self.quick.value, self.calm.value
            above = quick > calm
            if above == self.above or quick == calm:
                return
            was_above, self.above = self.above, above
            if was_above is None:
                return
            if above:
                self.submit_order(self.order_factory.market(self.instrument_id, OrderSide.BUY, self.size))
            elif self.portfolio.is_net_long(self.instrument_id):
                self.submit_order(self.order_factory.market(self.instrument_id, OrderSide.SELL, self.size))

        def on_position_closed(self, event: Any) -> None:
            self.trips += 1

    return Cross


class Nautilus:
    """One run."""

    def __init__(self, engine: Any, instrument_id: Any, bar_type: Any) -> None:
        self._engine = engine
        self._instrument_id = instrument_id
        self._bar_type = bar_type
        self._make = _strategy()

    def arrange(self, job: Job) -> Any:
        """The engine as new, with a new strategy."""
        engine = self._engine
        engine.reset()
        engine.clear_strategies()
        strategy = self._make(self._instrument_id, self._bar_type, job["fast"], job["slow"])
        engine.add_strategy(strategy)
        return strategy

    def run(self, arranged: Any) -> Any:
        """Bar by bar."""
        self._engine.run()
        return arranged

    def read(self, result: Any) -> Answer:
        """The account at the end."""
        account = self._engine.portfolio.account(self._instrument_id.venue)
        return {"trips": result.trips, "final": float(account.balance_total().as_decimal())}


if __name__ == "__main__":
    serve(_IMPORTS, "nautilus_trader", make)
