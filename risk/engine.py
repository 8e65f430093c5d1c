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
from risk.book import RiskBook, what_is_asked
from risk.decide import decide
from risk.denial import Denial
from risk.limits import RiskLimits
from risk.order import order_of
from risk.restrictions import Restriction
from risk.watch import Quiet, quiet

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
        self._book = RiskBook(instruments, limits)
        self._markets = self._book.markets
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
        """What is let through now."""
        return self._book.restrictions.state

    @property
    def limits(self) -> RiskLimits:
        """The caps in force."""
        return self._book.limits

    def set_limits(self, limits: RiskLimits) -> None:
        """Put other caps in force from the next intent on; each decision records those it was taken under."""
        self._book.set_limits(limits)

    def position(self, symbol: str) -> Position:
        """The position in a symbol. Raises UnknownSymbolError."""
        return self._book.positions.position(symbol)

    def day_pnl_usd(self) -> float:
        """The UTC day's profit and loss at the last prices, fees included."""
        return self._book.day_pnl_usd()

    def quiet(self) -> Quiet:
        """The bounds of time and price within which a trade alone makes this engine say nothing."""
        return quiet(self._book)

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
        return self._changed(self._book.restrictions.put(restriction, source, detail), ts_ns)

    def lift(self, restriction: Restriction, source: str, ts_ns: int) -> Sequence[Contract]:
        """Lift a restriction by hand, from every source when ``source`` is empty; returns the change."""
        return self._changed(self._book.restrictions.lift(restriction, source), ts_ns)

    def restore(self, cause: Contract | None, events: Iterable[Contract]) -> None:
        """Take back one transaction of the ledger. Nothing is decided again."""
        self._book.restore(cause, events)

    def snapshot(self) -> dict[str, Any]:
        """The durable state as plain JSON values."""
        return self._book.snapshot()

    def report(self) -> dict[str, Any]:
        """The trading state and what restricts it, in words."""
        return {"state": self.state.value, "restrictions": self._book.restrictions.reason()}

    def load_snapshot(self, snapshot: Mapping[str, Any]) -> None:
        """Become the engine that ``snapshot`` describes; later transactions are restored on top of it.

        Raises:
            UnknownSymbolError: a symbol of the snapshot is no longer configured.
            ConfigError: an instrument's steps have changed since.
        """
        self._book.load(snapshot)

    # -- market data: caches, and the day's loss when it may have grown -----------------------------------

    def _on_trade(self, trade: TradeEvent) -> Iterable[Contract]:
        market = self._markets.get(trade.symbol)
        if market is None:
            return _NOTHING
        book, ts = self._book, trade.ts
        if ts > book.now:
            book.now = ts
        if not book.rolls:
            market.hear(trade.price, ts)
            return _NOTHING
        opened = self._open_day(ts)  # at the prices before this trade
        before = market.mark
        if market.hear(trade.price, ts) and (market.mark - before) * market.lots < 0:
            return [*opened, *self._watch_loss()]
        return opened

    def _on_tick(self, tick: ClockTick) -> Iterable[Contract]:
        now = self._book.advance(tick.ts)
        return [*self._open_day(now), *self._watch_loss()] if self._book.rolls else _NOTHING

    def _on_feed(self, status: FeedStatus) -> Iterable[Contract]:
        market = self._markets.get(status.symbol)
        if market is not None and status.channel == "trades":
            self._book.advance(status.ts_changed_ns)
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
        book = self._book
        now = book.advance(intent.ts_local_ns)
        answers = [*self._open_day(now), *self._watch_loss()]
        decision = decide(intent, book.inputs(intent), book.limits)
        book.book_decision(decision)
        answers.append(decision)
        book.remember(intent.intent_id, asked)
        if decision.allowed:
            order = order_of(intent, decision, self._venue)
            book.book_order(order, book.limits.orders_per_min_cap)
            answers.append(order)
        return answers

    def _is_repeat(self, intent_id: str, asked: int) -> bool:
        before = self._book.asked_before(intent_id)
        if before is None:
            return False
        if before != asked:
            denial = Denial(DenialCode.DUPLICATE_INTENT, {"intent_id": intent_id})
            raise RejectedError(
                f"{denial.reason}: expected the intent that was decided under this id before, got another one; "
                "give every intent an id of its own"
            )
        self.duplicates += 1
        return True

    # -- what became of the orders ------------------------------------------------------------------------

    def _on_fill(self, fill: FillEvent) -> Iterable[Contract]:
        book = self._book
        position = book.positions.apply(fill)  # first: it raises before anything has changed
        book.advance(fill.ts_fill_ns)
        opened = self._open_day(fill.ts_fill_ns)  # at the position before this fill
        book.book_fill(fill, position)
        return [*opened, *self._watch_loss()]

    def _on_update(self, update: OrderUpdate) -> Iterable[Contract]:
        if update.done:
            self._book.finish(update)
        self._book.advance(update.ts_updated_ns)
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
        book = self._book
        if Restriction.DAILY_LOSS in book.restrictions:
            return _NOTHING
        pnl, cap = book.day_pnl_usd(), book.limits.daily_loss_usd_cap
        if pnl > -cap:
            return _NOTHING
        return self.restrict(Restriction.DAILY_LOSS, "", f"day_pnl={pnl:.2f} cap={cap:.2f}", book.now)

    def _changed(self, changed: bool, ts_ns: int) -> Sequence[Contract]:
        book = self._book
        book.advance(ts_ns)
        if not changed:
            return _NOTHING
        book.look_ahead()
        return (book.state_event(book.restrictions.reason()),)

    def _open_day(self, ts_ns: int) -> Sequence[Contract]:
        book = self._book
        if not book.open_day(ts_ns):
            return _NOTHING
        return (book.state_event(f"day {book.day.label()} opens: {book.restrictions.reason()}"),)
