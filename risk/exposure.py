"""The exposure as the risk engine counts it: markets, positions, orders, day, restrictions, rates, intents.

The durable part is a fold over the engine's ledger; each step of the fold is one method that deciding and
recovering share. Last prices and feed health are caches: learnt again from the feed after a restart.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from zlib import crc32

from core.contracts import Contract, FillEvent, OrderEvent, OrderIntent, OrderUpdate, RiskDecision, RiskState
from core.instruments import Instruments
from core.position_ledger import Position, PositionLedger
from risk.day import TradingDay, markets_of
from risk.inputs import RiskInputs, limit_ticks, order_lots
from risk.limits import RiskLimits
from risk.rate import TokenBucket
from risk.restrictions import Restriction, Restrictions
from risk.working import WorkingOrders

REMEMBERED_INTENTS: Final = 16_384
"""How many decided ids are kept to recognise a repeat. Hosts resume behind the last message they processed,
so a repeat comes soon or not at all; this bounds memory, not correctness."""


class Exposure:
    """The state behind the risk engine's decisions.

    ``now`` is the time of the latest event, ``rolls`` says whether the next UTC day must open with an event.
    """

    def __init__(self, instruments: Instruments, limits: RiskLimits) -> None:
        self.limits = limits
        self.now = 0
        self.recorded_ns = 0  # time as the ledger tells it
        self.rolls = False
        self.markets = markets_of(instruments)
        self.positions = PositionLedger(instruments)
        self.day = TradingDay(list(self.markets.values()))
        self.working = WorkingOrders()
        self.restrictions = Restrictions()
        self._instruments = instruments
        self._rates = {symbol: TokenBucket(limits.orders_per_min_cap) for symbol in self.markets}
        # Intent id to what the intent asked for, oldest first; a plain dict would take long to forget the oldest.
        self._decided: OrderedDict[str, int] = OrderedDict()

    def advance(self, ts_ns: int) -> int:
        """Let time go on to ``ts_ns``, never back; returns the time now."""
        if ts_ns > self.now:
            self.now = ts_ns
        return self.now

    def day_pnl_usd(self) -> float:
        """The UTC day's profit and loss at the last prices, fees included."""
        return self.day.pnl_usd(self.limits.usd_rates)

    def set_limits(self, limits: RiskLimits) -> None:
        """Put other caps in force."""
        self.limits = limits
        for bucket in self._rates.values():
            bucket.cap_per_min = limits.orders_per_min_cap

    def inputs(self, intent: OrderIntent) -> RiskInputs:
        """The numbers that a decision on this intent rests on, as of now."""
        restrictions = self.restrictions
        state = restrictions.state.value
        kill_switch = restrictions.sources(Restriction.KILL_SWITCH) if restrictions.names else ""
        market = self.markets.get(intent.symbol)
        if market is None:
            return RiskInputs(
                self.now, state, restrictions.names, kill_switch, known_symbol=False, usd_per_quote=0.0,
                day_pnl_usd=self.day_pnl_usd(),
            )  # fmt: skip
        ref_price, ref_ts_ns, ref_source = market.price, market.price_ts_ns, "trade"
        if not ref_price:
            ref_price, ref_ts_ns, ref_source = intent.limit_price or 0.0, 0, "limit" if intent.limit_price else "none"
        return RiskInputs(
            now_ns=self.now,
            state=state,
            restrictions=restrictions.names,
            kill_switch=kill_switch,
            known_symbol=True,
            tick_size=market.tick_size,
            lot_size=market.lot_size,
            min_notional=market.min_notional,
            order_lots=order_lots(intent, market.instrument),
            limit_ticks=limit_ticks(intent, market.instrument),
            ref_price=ref_price,
            ref_price_ts_ns=ref_ts_ns,
            ref_source=ref_source,
            feed=market.feed_state,
            usd_per_quote=market.usd_per_quote(self.limits.usd_rates),
            position_lots=market.lots,
            open_buy_lots=self.working.open_lots(intent.symbol, "buy"),
            open_sell_lots=self.working.open_lots(intent.symbol, "sell"),
            day_pnl_usd=self.day_pnl_usd(),
            rate_backlog_ns=self._rates[intent.symbol].backlog_ns(self.now),
        )

    # -- the steps of the fold ----------------------------------------------------------------------------

    def asked_before(self, intent_id: str) -> int | None:
        """The checksum of the intent that was decided under this id; None when there was none."""
        return self._decided.get(intent_id)

    def remember(self, intent_id: str, asked: int) -> None:
        """An intent was decided."""
        self._decided[intent_id] = asked
        if len(self._decided) > REMEMBERED_INTENTS:
            self._decided.popitem(last=False)

    def apply_decision(self, decision: RiskDecision) -> None:
        """A decision was taken: time, and the price it rests on, are on record."""
        self._record_time(decision.ts_decided_ns)
        inputs = decision.inputs
        if inputs["ref_source"] == "trade":
            self._record_price(decision.symbol, inputs["ref_price"], inputs["ref_price_ts_ns"])

    def apply_order(self, order: OrderEvent, cap_per_min: int) -> None:
        """An order was allowed, under that cap on the rate. Raises UnknownSymbolError."""
        lots = self._instruments[order.symbol].lots(order.qty)
        self.working.add(order.order_id, order.symbol, order.side, lots)
        self._rates[order.symbol].take(order.ts_accepted_ns, cap_per_min)

    def apply_fill(self, fill: FillEvent, position: Position) -> None:
        """A fill was applied to the ledger and gave that position."""
        market = self.markets[fill.symbol]
        if not market.traded:
            market.traded = True
            self.day.holdings_changed()
        market.apply(position, fill.price, fill.ts_fill_ns)
        self._record_time(fill.ts_fill_ns)
        self.working.fill(fill.order_id, market.instrument.lots(fill.qty))
        self.look_ahead()

    def finish(self, update: OrderUpdate) -> None:
        """An order reached its end. Raises ContractError when its filled quantity is off the grid."""
        market = self.markets.get(update.symbol)
        if market is not None:
            self.working.finish(update.order_id, market.instrument.lots(update.filled_qty))

    def open_day(self, ts_ns: int) -> bool:
        """Open the day of ``ts_ns`` unless it is open; returns whether that needs to be recorded.

        Flat and without a loss to forget, a day opens at plain cash, which follows from the ledger alone.
        Otherwise the opening values rest on last prices, and only an event can tell them to a recovered engine.
        """
        if ts_ns < self.day.next_day_ns:
            return False
        lifted = self.restrictions.lift(Restriction.DAILY_LOSS)
        self.day.open_day(ts_ns)
        self.look_ahead()
        return lifted or self.day.exposed

    def look_ahead(self) -> None:
        """Say again whether the next day must open with an event."""
        self.rolls = self.day.exposed or Restriction.DAILY_LOSS in self.restrictions

    def state_event(self, reason: str) -> RiskState:
        """The restrictions and the day as an event from which both can be recovered."""
        inputs = {
            "restrictions": self.restrictions.snapshot(),
            "day_pnl_usd": self.day_pnl_usd(),
            "daily_loss_usd_cap": float(self.limits.daily_loss_usd_cap),
            "marks": self.day.marks(),
            **self.day.snapshot(),
        }
        self._record_marks(inputs["marks"])
        self._record_time(self.now)
        return RiskState(self.restrictions.state, reason, self.now, inputs)

    # -- durable state ------------------------------------------------------------------------------------

    def recover(self, cause: Contract | None, events: Iterable[Contract]) -> None:
        """Take back one transaction of the ledger. Nothing is decided again."""
        for event in events:
            self.advance(event.ts_ns)
            if isinstance(event, RiskState):
                self._record_time(event.ts_ns)
                self._recover_state(event.inputs)
            elif isinstance(event, RiskDecision):
                self._recover_decision(event, cause)
            elif isinstance(event, OrderEvent) and event.decision is not None:
                self.apply_order(event, int(event.decision.caps["orders_per_min_cap"]))
        if isinstance(cause, FillEvent):
            self.advance(cause.ts_fill_ns)
            self.open_day(cause.ts_fill_ns)
            self.apply_fill(cause, self.positions.apply(cause))
        elif isinstance(cause, OrderUpdate) and cause.done:
            self.finish(cause)

    def snapshot(self) -> dict[str, Any]:
        """The durable state as plain JSON values."""
        return {
            "positions": self.positions.snapshot(),
            "working": self.working.snapshot(),
            "restrictions": self.restrictions.snapshot(),
            "day": self.day.snapshot(),
            "rates": {symbol: bucket.full_at_ns for symbol, bucket in self._rates.items() if bucket.full_at_ns},
            "decided": dict(self._decided),
            "prices": {m.symbol: m.recorded() for m in self.markets.values() if m.recorded_ts_ns or m.fill_ts_ns},
            "now": self.recorded_ns,
        }

    def load(self, snapshot: Mapping[str, Any]) -> None:
        """Become what ``snapshot`` describes.

        Raises:
            UnknownSymbolError: a symbol of the snapshot is no longer configured.
            ConfigError: an instrument's steps have changed since.
        """
        self.positions.load(snapshot["positions"])
        for symbol, position in self.positions.positions().items():
            self.markets[symbol].hold(position)
        self.day.holdings_changed()
        self.day.load(snapshot["day"])
        self.working.load(snapshot["working"])
        self.restrictions.load(snapshot["restrictions"])
        for symbol, bucket in self._rates.items():
            bucket.full_at_ns = snapshot["rates"].get(symbol, 0)
        self._decided = OrderedDict(snapshot["decided"])
        for symbol, recorded in snapshot["prices"].items():
            self.markets[symbol].load_recorded(*recorded)
        self.recorded_ns = self.now = snapshot["now"]
        self.look_ahead()

    def _recover_state(self, inputs: Mapping[str, Any]) -> None:
        self.restrictions.load(inputs["restrictions"])
        self.day.load(inputs)
        self._record_marks(inputs["marks"])
        for symbol, (price, ts_ns) in inputs["marks"].items():
            self._recover_price(symbol, price, int(ts_ns))
        self.look_ahead()

    def _recover_decision(self, decision: RiskDecision, cause: Contract | None) -> None:
        self.open_day(decision.ts_decided_ns)
        if isinstance(cause, OrderIntent):
            self.remember(decision.intent_id, what_is_asked(cause))
        self.apply_decision(decision)
        if decision.inputs["ref_source"] == "trade":
            self._recover_price(decision.symbol, decision.inputs["ref_price"], decision.inputs["ref_price_ts_ns"])

    def _record_time(self, ts_ns: int) -> None:
        if ts_ns > self.recorded_ns:
            self.recorded_ns = ts_ns

    def _record_marks(self, marks: Mapping[str, Sequence[float]]) -> None:
        for symbol, (price, ts_ns) in marks.items():
            self._record_price(symbol, price, int(ts_ns))

    def _record_price(self, symbol: str, price: float, ts_ns: int) -> None:
        market = self.markets.get(symbol)
        if market is not None and ts_ns > market.recorded_ts_ns:
            market.recorded_price, market.recorded_ts_ns = price, ts_ns

    def _recover_price(self, symbol: str, price: float, ts_ns: int) -> None:
        """A last price from the record: old, and known to be, but better than none."""
        market = self.markets.get(symbol)
        if market is not None and ts_ns > market.price_ts_ns:
            market.price, market.price_ts_ns = price, ts_ns


def what_is_asked(intent: OrderIntent) -> int:
    """A checksum of what an intent asks for, by which a repeat is told from another intent under the same id."""
    limit = "" if intent.limit_price is None else float(intent.limit_price)
    asked = f"{intent.strategy_id}|{intent.symbol}|{intent.side}|{intent.type}|{float(intent.qty)!r}|{limit!r}"
    return crc32(asked.encode())
