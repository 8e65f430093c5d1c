"""The one way into the fleet for market data, whatever the feed: checked, in order, each trade once, with the clock.

Ids decide the order of trades, never their times. Market time is the latest event time seen; a clock tick
promises that everything before it has been delivered, so none is given while a hole is being filled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from core.clock import NS_PER_MINUTE, NS_PER_S
from core.contracts import BboEvent, BookEvent, ClockTick, Contract, FeedStatus, TickerEvent, TradeEvent
from core.errors import ContractError, RejectedError, UnknownSymbolError
from core.exact import integer_sum
from core.instruments import Instrument, Instruments
from core.market.sequence import (
    MAX_HELD,
    MAX_HELD_OFFLINE,
    BackfillDone,
    BackfillRequest,
    JournaledTail,
    TradeSequencer,
    numeric_id,
)

MAX_BACKWARDS_NS: Final = 5 * NS_PER_S  # older than the symbol's trade before it: counted, or rejected without an id
MAX_OUTAGE_NS: Final = NS_PER_MINUTE  # market time for which the clock waits for a symbol whose trades do not come
MAX_AHEAD_NS: Final = 5 * NS_PER_MINUTE  # of our clock at receipt: no venue is that far in the future


REJECTIONS: Final = ("grid", "time_ahead", "time_backwards", "unknown_symbol", "no_market_data")  # reasons


@dataclass(slots=True)
class IngestCounters:
    """The fates of the raw events of all symbols since the start.

    Attributes:
        accepted: trades that left in order.
        duplicates, late, before_first: trades that were dropped: repeated, given up before they came, with an id below
            the first one seen.
        rejected: events by reason.
        gaps, missing: gaps, and the trades missing in them.
        backwards: trades whose time lies more than five seconds before that of the trade with the id before.
        stale_books, stale_bbos: order books, and best bids and offers, that were not newer than the one before.
        restarts: of a venue's trade numbering.
        ticks: clock ticks that left.
    """

    accepted: int = 0
    duplicates: int = 0
    late: int = 0
    before_first: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    gaps: int = 0
    missing: int = 0
    backwards: int = 0
    stale_books: int = 0
    stale_bbos: int = 0
    restarts: int = 0
    ticks: int = 0


@dataclass(slots=True)
class _Lane:
    """One symbol's way through."""

    instrument: Instrument
    sequencer: TradeSequencer
    last_trade_ts: int = 0
    last_book_id: int = 0
    last_bbo_id: int = 0
    events: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("book", "bbo", "ticker"), 0))
    down_since: int | None = None  # market time at which its trades stopped coming


class MarketDataIngest:
    """The decision core of the market data daemon.

    Takes raw ``TradeEvent``, ``BookEvent``, ``BboEvent``, ``TickerEvent``, ``FeedStatus``, ``BackfillDone`` and
    ``ClockTick`` (a live feed's word that time passes while nothing trades); answers what the fleet gets and, with
    ``backfill``, ``BackfillRequest`` for the feed. Without it nobody can be asked (a replay): trades out of
    order wait for at most ``MAX_HELD_OFFLINE`` others, then a hole is a gap.

    ``last_ids`` are the last trade ids that an earlier run journaled, by symbol: what was missed since is fetched.
    ``tails`` are the newest journaled trades by symbol, for venues whose ids do not count.
    """

    name = "md_ingest"

    def __init__(
        self,
        instruments: Instruments,
        symbols: Iterable[str] | None = None,
        *,
        backfill: bool = True,
        contiguous: bool = True,
        last_ids: Mapping[str, int] | None = None,
        tails: Mapping[str, JournaledTail] | None = None,
    ) -> None:
        last_ids, tails = last_ids or {}, tails or {}
        self._counts = IngestCounters()
        self._backfill = backfill
        self._lanes = {
            symbol: _Lane(
                instruments[symbol],
                TradeSequencer(
                    symbol,
                    contiguous=contiguous,
                    last_id=last_ids.get(symbol),
                    tail=tails.get(symbol),
                    max_held=MAX_HELD if backfill else MAX_HELD_OFFLINE,
                ),
            )
            for symbol in (instruments if symbols is None else symbols)
        }
        self._holding = 0
        self._outages: list[_Lane] = []
        self._now = 0
        self._second_seen = 0
        self._second_told = 0

    @property
    def market_time_ns(self) -> int:
        """The latest event time seen, UTC epoch nanoseconds; 0 before the first event."""
        return self._now

    def on_event(self, event: Contract) -> Sequence[Contract]:
        """Take one raw event in.

        Raises:
            UnknownSymbolError: the symbol is not among those of this ingest.
            RejectedError: off the instrument's grid, impossible time, a contract that is no market data.
                The event is counted under ``tallies().rejected``; nothing else is affected.
        """
        if type(event) is TradeEvent:
            return self._on_trade(event)
        if type(event) is BookEvent:
            return self._on_book(event)
        if type(event) is BboEvent:
            return self._on_bbo(event)
        if type(event) is TickerEvent:
            self._lane(event.symbol).events["ticker"] += 1
            return self._pass(event)
        if type(event) is ClockTick:
            return self._on_clock(event)
        if type(event) is BackfillDone:
            lane = self._lane(event.symbol)
            return self._leave(lane, lane.sequencer.backfill_done(event))
        if type(event) is FeedStatus:
            return self._on_status(event)
        raise self._reject(
            "no_market_data", RejectedError(f"md_ingest: expected market data, got {type(event).__name__}")
        )

    def tallies(self) -> IngestCounters:
        """The counters, those of the sequencers summed up."""
        total = self._counts
        parts = [lane.sequencer.counters for lane in self._lanes.values()]
        total.accepted = integer_sum(p.accepted for p in parts)
        total.duplicates = integer_sum(p.duplicates for p in parts)
        total.late = integer_sum(p.late for p in parts)
        total.before_first = integer_sum(p.before_first for p in parts)
        total.gaps = integer_sum(p.gaps for p in parts)
        total.missing = integer_sum(p.missing for p in parts)
        total.restarts = integer_sum(p.restarts for p in parts)
        return total

    def counters(self) -> Mapping[str, int]:
        """The same counts by name, for health, metrics and the summary of a run; always the same names."""
        tally = self.tallies()
        return {
            "trades": tally.accepted,
            "duplicates": tally.duplicates,
            "late": tally.late,
            "before_first": tally.before_first,
            "gaps": tally.gaps,
            "missing": tally.missing,
            "backwards": tally.backwards,
            "stale_books": tally.stale_books,
            "stale_bbos": tally.stale_bbos,
            "restarts": tally.restarts,
            "rejected": tally.rejected.total(),
            **{f"rejected_{reason}": tally.rejected[reason] for reason in REJECTIONS},
        }

    def events_by_channel(self) -> Mapping[str, Mapping[str, int]]:
        """The events of each symbol that left for the fleet since the start, by channel; 0 for one that never came."""
        return {
            symbol: {"trades": lane.sequencer.counters.accepted, **lane.events} for symbol, lane in self._lanes.items()
        }

    def _on_trade(self, trade: TradeEvent) -> Sequence[Contract]:
        lane = self._lane(trade.symbol)
        self._check_trade(lane, trade)
        expired = self._observe(trade.ts)
        ready = lane.sequencer.offer(trade)
        if (
            len(ready) == 1
            and not expired
            and ready[0] is trade
            and trade.ts // NS_PER_S <= self._second_told
            and trade.ts >= lane.last_trade_ts
        ):
            lane.last_trade_ts = trade.ts
            return ready
        return [*expired, *self._leave(lane, ready)]

    def _check_trade(self, lane: _Lane, trade: TradeEvent) -> None:
        try:
            lane.instrument.ticks(trade.price)
            lane.instrument.lots(trade.qty)
        except ContractError as error:
            raise self._off_grid(
                f"trade {trade.trade_id or '?'}", lane.instrument, trade.price, trade.qty, error
            ) from None
        if trade.ts_recv_ns and trade.ts - trade.ts_recv_ns > MAX_AHEAD_NS:
            raise self._reject(
                "time_ahead",
                ContractError(
                    f"trade {trade.trade_id or '?'} of {trade.symbol}: expected a time no more than "
                    f"{MAX_AHEAD_NS // NS_PER_S} s after its receipt {trade.ts_recv_ns}, got {trade.ts}. "
                    "Check this machine's clock, or the unit of the feed's timestamps."
                ),
            )
        if lane.last_trade_ts - trade.ts > MAX_BACKWARDS_NS and numeric_id(trade.trade_id) is None:
            raise self._reject(
                "time_backwards",
                ContractError(
                    f"trade of {trade.symbol}: expected a time no more than {MAX_BACKWARDS_NS // NS_PER_S} s before "
                    f"the trade before it ({lane.last_trade_ts}), got {trade.ts}, and no numbered id tells the order"
                ),
            )

    def _on_book(self, book: BookEvent) -> Sequence[Contract]:
        lane = self._lane(book.symbol)
        if book.last_id and book.last_id <= lane.last_book_id:
            self._counts.stale_books += 1
            return ()
        try:
            for levels in (book.bids, book.asks):
                if levels:  # the best level stands for its side: all come out of one parser
                    lane.instrument.ticks(levels[0][0])
                    lane.instrument.lots(levels[0][1])
        except ContractError as error:
            price, qty = levels[0]
            raise self._off_grid(f"book {book.last_id}", lane.instrument, price, qty, error) from None
        lane.last_book_id = book.last_id
        lane.events["book"] += 1
        return self._pass(book)

    def _on_bbo(self, bbo: BboEvent) -> Sequence[Contract]:
        lane = self._lane(bbo.symbol)
        if bbo.update_id and bbo.update_id <= lane.last_bbo_id:
            self._counts.stale_bbos += 1
            return ()
        price, qty = bbo.bid_price, bbo.bid_qty
        try:
            lane.instrument.ticks(price)
            lane.instrument.lots(qty)
            price, qty = bbo.ask_price, bbo.ask_qty
            lane.instrument.ticks(price)
            lane.instrument.lots(qty)
        except ContractError as error:
            raise self._off_grid(f"best bid and offer {bbo.update_id}", lane.instrument, price, qty, error) from None
        lane.last_bbo_id = bbo.update_id
        lane.events["bbo"] += 1
        return (bbo,)  # it has no time of its own that market time could go by

    def _on_clock(self, tick: ClockTick) -> Sequence[Contract]:
        out = self._observe(tick.ts)
        self._tell_time(tick.ts, out)
        return out

    def _on_status(self, status: FeedStatus) -> Sequence[Contract]:
        """Pass a change of health on; when the feed has ended, nothing waits any longer."""
        lane = self._lane(status.symbol)
        if status.state != "live":
            lane.last_book_id = lane.last_bbo_id = 0  # the next book starts anew
        if status.channel == "trades":
            self._note_outage(lane, status)
        if status.state != "ended":
            return (status,)
        return [*self._leave(lane, lane.sequencer.flush(status.detail or "the feed ended")), status]

    def _note_outage(self, lane: _Lane, status: FeedStatus) -> None:
        """What a cut stream missed is fetched when it is back: until then no bar may close without it."""
        if status.state in ("live", "ended"):
            lane.down_since = None
        elif lane.down_since is None:
            lane.down_since = self._now
        self._outages = [outage for outage in self._lanes.values() if outage.down_since is not None]

    def _waits(self) -> bool:
        """Whether the clock has to wait for trades that will come."""
        return bool(self._holding) or any(
            lane.down_since is not None and self._now - lane.down_since < MAX_OUTAGE_NS for lane in self._outages
        )

    def _pass(self, event: Contract) -> Sequence[Contract]:
        out = self._observe(event.ts_ns)
        self._tell_time(event.ts_ns, out)
        out.append(event)
        return out

    def _observe(self, ts_ns: int) -> list[Contract]:
        """Let market time go on; once a second, give up holes that have been open for too long."""
        if ts_ns > self._now:
            self._now = ts_ns
            if (second := ts_ns // NS_PER_S) > self._second_seen:
                self._second_seen = second
                if self._holding:
                    return self._expire(ts_ns)
        return []

    def _expire(self, now_ns: int) -> list[Contract]:
        out: list[Contract] = []
        for lane in self._lanes.values():
            out.extend(self._leave(lane, lane.sequencer.expire(now_ns)))
        return out

    def _leave(self, lane: _Lane, ready: Sequence[Contract]) -> list[Contract]:
        """What the sequencer let go, with clock ticks before the first event of each second."""
        self._holding = sum(1 for other in self._lanes.values() if other.sequencer.waiting)
        out: list[Contract] = []
        for event in ready:
            if isinstance(event, TradeEvent):
                if lane.last_trade_ts - event.ts > MAX_BACKWARDS_NS:
                    self._counts.backwards += 1
                lane.last_trade_ts = event.ts
                self._tell_time(event.ts, out)
            elif isinstance(event, BackfillRequest) and not self._backfill:
                continue
            out.append(event)
        return out

    def _tell_time(self, ts_ns: int, out: list[Contract]) -> None:
        second = ts_ns // NS_PER_S
        if second > self._second_told and not self._waits():
            self._second_told = second
            self._counts.ticks += 1
            out.append(ClockTick(second * NS_PER_S))

    def _lane(self, symbol: str) -> _Lane:
        lane = self._lanes.get(symbol)
        if lane is None:
            raise self._reject(
                "unknown_symbol",
                UnknownSymbolError(
                    f"unknown symbol {symbol!r}: this feed serves {', '.join(self._lanes) or 'no symbol'}. "
                    "Ask for it with --symbol, or add it under `instruments` in config/base.yaml."
                ),
            )
        return lane

    def _off_grid(
        self, name: str, instrument: Instrument, price: float, qty: float, error: ContractError
    ) -> RejectedError:
        """The rejection of an event off the grid, with the keys whose configured step is coarser than the venue's."""
        finer = [
            f"the venue's {key} is {step:f} or finer, configured is {configured:f}: "
            f"change instruments.{instrument.symbol}.{key} in config/base.yaml"
            for key, value, steps, configured in (
                ("tick_size", price, instrument.ticks, instrument.tick_size),
                ("lot_size", qty, instrument.lots, instrument.lot_size),
            )
            if (step := _step_of(value)) < configured and _is_refused(steps, value)
        ]  # fmt: skip
        return self._reject("grid", ContractError(". ".join([f"{name} of {error}", *finer])))

    def _reject(self, reason: str, error: RejectedError) -> RejectedError:
        self._counts.rejected[reason] += 1
        return error


def _is_refused(steps: Callable[[float], int], value: float) -> bool:
    try:
        steps(value)
    except ContractError:
        return True
    return False


def _step_of(value: float) -> Decimal:
    """The decimal step that a value is written in: 0.001 for 100.005 and for 100.01 0.01."""
    return Decimal(1).scaleb(int(Decimal(repr(value)).normalize().as_tuple().exponent))
