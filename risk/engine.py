"""The risk engine: every order intent gets exactly one decision, every allowed one becomes an order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from core.contracts import (
    ClockTick,
    Contract,
    DenialCode,
    FeedStatus,
    FillEvent,
    JournalHealth,
    KillSwitchEvent,
    OrderIntent,
    OrderUpdate,
    TradeEvent,
    TradingState,
)
from core.errors import RejectedError
from core.instruments import Instruments
from core.position_ledger import Position
from risk.decide import decide
from risk.denial import Denial
from risk.exposure import Exposure, what_is_asked
from risk.limits import RiskLimits
from risk.order import order_of
from risk.restrictions import Restriction
from risk.watch import WakeUpBounds, wake_up_bounds

_NOTHING: Final = ()


class RiskEngine:
    """Decides on order intents.

    Takes ``OrderIntent``, ``FillEvent``, ``OrderUpdate``, ``TradeEvent``, ``ClockTick``, ``FeedStatus``,
    ``KillSwitchEvent`` and ``JournalHealth``; anything else is ignored. Answers an intent with one
    ``RiskDecision``, directly followed by an ``OrderEvent`` when allowed. Whenever a restriction comes or goes,
    or a UTC day opens on held positions, a ``RiskState`` says so, before the decision it may bear on. Time is the
    latest event's.

    The day's loss is looked at whenever it may have grown: on a price that moves against a position, a fill,
    a clock tick, an intent. At UTC midnight the restriction is lifted and the count starts anew.

    Args:
        instruments: what may be traded; any other symbol is denied.
        limits: the caps.
        venue: where the orders go.
    """

    def __init__(self, instruments: Instruments, limits: RiskLimits, venue: str = "paper") -> None:
        self.name = "risk_engine"
        self.duplicates = 0
        self._venue = venue
        self._exposure = Exposure(instruments, limits)
        self._markets = self._exposure.markets
        self._takes: dict[type[Contract], Callable[[Any], Iterable[Contract]]] = {
            TradeEvent: self._on_trade,
            ClockTick: self._on_tick,
            OrderIntent: self._on_intent,
            FillEvent: self._on_fill,
            OrderUpdate: self._on_update,
            FeedStatus: self._on_feed,
            KillSwitchEvent: self._on_kill_switch,
            JournalHealth: self._on_journal_health,
        }

    @property
    def state(self) -> TradingState:
        """The trading state: what is let through now."""
        return self._exposure.restrictions.state

    @property
    def limits(self) -> RiskLimits:
        """The caps in force."""
        return self._exposure.limits

    def set_limits(self, limits: RiskLimits) -> None:
        """Put other caps in force from the next intent on; each decision records those it was taken under."""
        self._exposure.set_limits(limits)

    def position(self, symbol: str) -> Position:
        """The position in a symbol. Raises UnknownSymbolError."""
        return self._exposure.positions.position(symbol)

    def day_pnl_usd(self) -> float:
        """The UTC day's profit and loss at the last prices, fees included."""
        return self._exposure.day_pnl_usd()

    def wake_up_bounds(self) -> WakeUpBounds:
        """The bounds of time and price within which a trade alone makes this engine say nothing."""
        return wake_up_bounds(self._exposure)

    def on_event(self, event: Contract) -> Iterable[Contract]:
        """Take one event in.

        Raises:
            RejectedError: an intent without id, or with the id of another one; a fill or update of an
                unknown symbol or off the instrument's grid. Nothing is changed then.
        """
        take = self._takes.get(type(event))
        return _NOTHING if take is None else take(event)

    def restrict(self, restriction: Restriction, source: str, detail: str, ts_ns: int) -> Sequence[Contract]:
        """Put a restriction in force by hand; returns the change, which the host records like any answer."""
        return self._changed(self._exposure.restrictions.put(restriction, source, detail), ts_ns)

    def lift(self, restriction: Restriction, source: str, ts_ns: int) -> Sequence[Contract]:
        """Lift a restriction by hand, from every source when ``source`` is empty; returns the change."""
        return self._changed(self._exposure.restrictions.lift(restriction, source), ts_ns)

    def recover(self, cause: Contract | None, events: Iterable[Contract]) -> None:
        """Take back one transaction of the ledger. Nothing is decided again."""
        self._exposure.recover(cause, events)

    def snapshot(self) -> dict[str, Any]:
        """The durable state as plain JSON values."""
        return self._exposure.snapshot()

    def report(self) -> dict[str, Any]:
        """The trading state and what restricts it, in words."""
        return {"state": self.state.value, "restrictions": self._exposure.restrictions.reason()}

    def load_snapshot(self, snapshot: Mapping[str, Any]) -> None:
        """Become the engine that ``snapshot`` describes; later transactions are recovered on top of it.

        Raises:
            UnknownSymbolError: a symbol of the snapshot is no longer configured.
            ConfigError: an instrument's steps have changed since.
        """
        self._exposure.load(snapshot)

    # -- market data: caches, and the day's loss when it may have grown -----------------------------------

    def _on_trade(self, trade: TradeEvent) -> Iterable[Contract]:
        market = self._markets.get(trade.symbol)
        if market is None:
            return _NOTHING
        exposure, ts = self._exposure, trade.ts
        if ts > exposure.now:
            exposure.now = ts
        if not exposure.rolls:
            market.set_mark(trade.price, ts)
            return _NOTHING
        opened = self._open_day(ts)  # at the prices before this trade
        previous_mark = market.mark
        if market.set_mark(trade.price, ts) and (market.mark - previous_mark) * market.lots < 0:
            return [*opened, *self._watch_loss()]
        return opened

    def _on_tick(self, tick: ClockTick) -> Iterable[Contract]:
        now = self._exposure.advance(tick.ts)
        return [*self._open_day(now), *self._watch_loss()] if self._exposure.rolls else _NOTHING

    def _on_feed(self, status: FeedStatus) -> Iterable[Contract]:
        market = self._markets.get(status.symbol)
        if market is not None and status.channel == "trades":
            self._exposure.advance(status.ts_changed_ns)
            market.feed, market.feed_ts_ns = status.state, status.ts_changed_ns
        return _NOTHING

    # -- intents ------------------------------------------------------------------------------------------

    def _on_intent(self, intent: OrderIntent) -> Iterable[Contract]:
        if not intent.intent_id:
            raise RejectedError(
                f"OrderIntent.intent_id of {intent.strategy_id}: expected an id, got ''. Intents get theirs from the "
                "strategy host; one sent by hand needs its own, or a repeat could not be recognised."
            )
        asked = what_is_asked(intent)
        if self._is_repeat(intent.intent_id, asked):
            return _NOTHING
        exposure = self._exposure
        now = exposure.advance(intent.ts_local_ns)
        answers = [*self._open_day(now), *self._watch_loss()]
        decision = decide(intent, exposure.inputs(intent), exposure.limits)
        exposure.apply_decision(decision)
        answers.append(decision)
        exposure.remember(intent.intent_id, asked)
        if decision.allowed:
            order = order_of(intent, decision, self._venue)
            exposure.apply_order(order, exposure.limits.orders_per_min_cap)
            answers.append(order)
        return answers

    def _is_repeat(self, intent_id: str, asked: int) -> bool:
        decided = self._exposure.asked_before(intent_id)
        if decided is None:
            return False
        if decided != asked:
            denial = Denial(DenialCode.DUPLICATE_INTENT, {"intent_id": intent_id})
            raise RejectedError(
                f"{denial.reason}: expected the intent that was decided under this id before, got another one; "
                "give every intent an id of its own"
            )
        self.duplicates += 1
        return True

    # -- what became of the orders ------------------------------------------------------------------------

    def _on_fill(self, fill: FillEvent) -> Iterable[Contract]:
        exposure = self._exposure
        position = exposure.positions.apply(fill)  # first: it raises before anything has changed
        exposure.advance(fill.ts_fill_ns)
        opened = self._open_day(fill.ts_fill_ns)  # at the position before this fill
        exposure.apply_fill(fill, position)
        return [*opened, *self._watch_loss()]

    def _on_update(self, update: OrderUpdate) -> Iterable[Contract]:
        if update.done:
            self._exposure.finish(update)
        self._exposure.advance(update.ts_updated_ns)
        return _NOTHING

    # -- restrictions and the day -------------------------------------------------------------------------

    def _on_kill_switch(self, event: KillSwitchEvent) -> Iterable[Contract]:
        if event.tripped:
            return self.restrict(Restriction.KILL_SWITCH, event.source, "", event.ts_seen_ns)
        # The event is about the switch as a whole: its host asks every source and tells of the sum.
        return self.lift(Restriction.KILL_SWITCH, "", event.ts_seen_ns)

    def _on_journal_health(self, health: JournalHealth) -> Iterable[Contract]:
        """While something cannot be written, only what reduces a position passes."""
        if health.ok:
            return self.lift(Restriction.JOURNAL_DEGRADED, "", health.ts_seen_ns)
        return self.restrict(Restriction.JOURNAL_DEGRADED, "", health.detail, health.ts_seen_ns)

    def _watch_loss(self) -> Sequence[Contract]:
        """Restrict to reducing once the day's loss has reached the cap."""
        exposure = self._exposure
        if Restriction.DAILY_LOSS in exposure.restrictions:
            return _NOTHING
        pnl, cap = exposure.day_pnl_usd(), exposure.limits.daily_loss_usd_cap
        if pnl > -cap:
            return _NOTHING
        return self.restrict(Restriction.DAILY_LOSS, "", f"day_pnl={pnl:.2f} cap={cap:.2f}", exposure.now)

    def _changed(self, changed: bool, ts_ns: int) -> Sequence[Contract]:
        exposure = self._exposure
        exposure.advance(ts_ns)
        if not changed:
            return _NOTHING
        exposure.look_ahead()
        return (exposure.state_event(exposure.restrictions.reason()),)

    def _open_day(self, ts_ns: int) -> Sequence[Contract]:
        exposure = self._exposure
        if not exposure.open_day(ts_ns):
            return _NOTHING
        return (exposure.state_event(f"day {exposure.day.label()} opens: {exposure.restrictions.reason()}"),)
