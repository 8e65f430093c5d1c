"""Sends what a daemon has made durable, and gives Redis what it lacks of the daemon's stream when it was away.

The ledger is the truth: what Redis did not confirm, forgot or never got is read from there and sent again.
Redis keeps of a stream what the slowest consumer has not processed; who needs more gets it from the ledger.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final, Protocol

from core.bus import RedisBus
from core.bus.redis import RETRY_FIRST_S, RETRY_MAX_S
from core.clock import NS_PER_MS, Clock, SystemClock
from core.component import Message
from core.entries import NO_ENTRY, EntryId, entry_text
from core.errors import BusGapError, BusUnavailableError, LedgerCorruptError
from core.ledger import Ledger, ledger
from core.service.host import ComponentHost
from core.topics import consumers_of

TELL_EVERY: Final = 12  # tries to reach Redis between two words about it: a minute
REFILL_BATCH: Final = 500
REFILL_TAIL: Final = 1_000  # transactions to begin a lost stream with while nobody has said what is needed
TRIM_EVERY_S: Final = 5.0
TRIM_WORTH: Final = 1_000  # transactions that everybody has processed
PROGRESS_S: Final = 2.0  # between two words about a long refill
_log: Final = logging.getLogger("njord.service")


class Tally(Protocol):
    """What counts the broadcasts that nobody got."""

    def inc(self, amount: int) -> None:
        """Add to the count."""
        ...


class Relay:
    """One daemon's way out.

    Args:
        host: whose messages these are.
        bus: the connection to Redis.
        stopping: set when the daemon is to end; nothing waits beyond that.
        dropped: counts broadcasts that Redis did not take.
        waits: whether ``send`` returns only when Redis is back; a feed goes on journaling instead.
        clock: dates the claim of the stream.
    """

    def __init__(
        self,
        host: ComponentHost,
        bus: RedisBus,
        stopping: asyncio.Event,
        dropped: Tally,
        *,
        waits: bool,
        clock: Clock | None = None,
    ) -> None:
        self.waiting_for = ""
        self._host = host
        self._bus = bus
        self._stopping = stopping
        self._dropped = dropped
        self._waits = waits
        self._clock = clock or SystemClock()  # ambient: dates the claim, decides nothing
        self._consumers = consumers_of(host.name)
        self._claimed = False
        self._unsent = False  # messages are in the ledger that Redis did not confirm
        self._trim_at = 0.0  # loop time of the next look at what can go

    async def connect(self) -> None:
        """Wait for Redis, take the stream over if that was not done before, then give it what it lacks.

        Raises:
            LedgerCorruptError: Redis or a consumer has more than the ledger, or Redis has another ledger's entries.
            FencedError: another copy of the daemon has taken the stream over since.
        """
        pause, attempt = RETRY_FIRST_S, 0
        while not self._stopping.is_set():
            self.waiting_for = f"Redis at {self._bus.url}"
            try:
                await self._bus.ping()
                await self._take_over()
            except BusUnavailableError as error:
                if attempt % TELL_EVERY == 0:
                    _log.warning("%s", error)
                attempt += 1
                await self._rest(pause)
                pause = min(pause * 2, RETRY_MAX_S)
                continue
            self.waiting_for = ""
            if attempt:
                _log.info("Redis at %s answers", self._bus.url)
            return

    async def _take_over(self) -> None:
        book = self._host.ledger
        if book is None:
            self._unsent = False
            return
        if not self._claimed:
            # Look first: whoever must not send must not stop the one who may.
            await self._look(book)
            await self._bus.claim(self._host.name, self._clock.now_ns() // NS_PER_MS)
            self._claimed = True
        else:
            await self._bus.hold(self._host.name)
        await self.refill()

    # ---- what Redis has

    async def _look(self, book: Ledger) -> tuple[EntryId, str]:
        """The newest entry in Redis and its ledger. Raises LedgerCorruptError when ours is not its continuation."""
        newest, identity = await self._bus.newest(self._host.name)
        if newest > self._host.newest_entry:
            raise self._refused(book, f"Redis has its stream up to {newest[0]}")
        if identity and identity != book.identity:
            raise self._refused(book, f"Redis has a stream of the ledger {identity}, and this one is {book.identity}")
        return newest, identity

    async def _positions(self, book: Ledger) -> dict[str, EntryId]:
        """How far the consumers are, as far as they have said. Raises LedgerCorruptError for one that is ahead."""
        said = await self._bus.consumer_offsets(self._host.name)
        known = {consumer: said[consumer] for consumer in self._consumers if consumer in said}
        for consumer, entry in known.items():
            if entry > self._host.newest_entry:
                raise self._refused(book, f"{consumer} has processed it up to {entry_text(entry)}")
        return known

    def _refused(self, book: Ledger, found: str) -> LedgerCorruptError:
        name, bus = self._host.name, self._bus
        return LedgerCorruptError(
            book.path,
            book.seq,
            f"the ledger ends at transaction {book.seq}, but {found}: the file was deleted, replaced or is not the "
            f"newest copy. Or, if it was meant to start anew, stop the fleet, delete the keys {bus.stream_key(name)} "
            f"and {bus.offsets_key(name)} in Redis and move the ledgers of all other daemons aside",
        )

    # ---- refilling

    async def refill(self) -> None:
        """Send again what Redis has not got of the ledger's stream, until it has it all, or the daemon is to stop.

        Raises:
            BusUnavailableError: Redis went away again.
            LedgerCorruptError: Redis has more than the ledger, or another one. Whatever was sent below that would be
                refused in silence, as repeated, so nothing may be sent.
            FencedError: another copy of the daemon has taken the stream over since.
        """
        book = self._host.ledger
        pause = RETRY_FIRST_S
        while book is not None and not self._stopping.is_set():
            try:
                newest, identity = await self._look(book)
                if newest != self._host.newest_entry:
                    if newest == NO_ENTRY or not identity:
                        await self._begin_again(book, await self._start(book))
                    else:
                        await self._send_from(book, newest)
                break
            except BusGapError as gap:  # emptied again meanwhile
                _log.warning("%s; refilling it again", gap)
                await self._rest(pause)
                pause = min(pause * 2, RETRY_MAX_S)
        self._unsent = False

    async def _start(self, book: Ledger) -> EntryId:
        """The entry to begin a lost stream behind: what the slowest consumer has processed.

        While somebody has not said where it is, the last transactions must do: who needs more sees the hole, says
        where it is, and ``maintain`` begins the stream again from there.
        """
        known = await self._positions(book)
        tail = (max(self._host.newest_entry[0] - REFILL_TAIL, 0), 0)
        places = list(known.values()) if len(known) == len(self._consumers) and known else [tail, *known.values()]
        return min(places)

    async def _begin_again(self, book: Ledger, after: EntryId) -> None:
        await self._bus.hold(self._host.name)  # who has been fenced removes nothing
        await self._bus.remove(self._host.name)
        await self._send_from(book, min(after, _before(self._host.newest_entry)), anew=True)

    async def _send_from(self, book: Ledger, after: EntryId, *, anew: bool = False) -> None:
        """Send the ledger's messages behind an entry, in order; ``anew`` begins a stream that is not there.

        Progress of a long refill is told.
        """
        name, loop = self._host.name, asyncio.get_running_loop()
        began = told = loop.time()
        sent, start = 0, NO_ENTRY
        messages = ledger.messages_after(book.path, name, after)
        while batch := await self._next(messages):
            if anew and not sent:
                start = batch[0].prev
            await self._bus.publish(batch, start)
            sent += len(batch)
            if loop.time() - told > PROGRESS_S:
                told = loop.time()
                at, end = entry_text(batch[-1].entry), entry_text(self._host.newest_entry)
                self.waiting_for = f"the refill of its stream: {at} of {end}"
                _log.info("%s refills its stream: %d entries sent, at %s of %s", name, sent, at, end)
        self.waiting_for = ""
        _log.info("%s sent %d entries again that Redis lacked, in %.1f s", name, sent, loop.time() - began)

    async def _next(self, messages: Iterator[Message]) -> list[Message]:
        await asyncio.sleep(0)  # health is answered and the watchdog fed between two batches
        return [] if self._stopping.is_set() else list(islice(messages, REFILL_BATCH))

    # ---- while it runs

    async def maintain(self) -> None:
        """See what Redis has of the stream: refill what it lost, keep what consumers need, forget what nobody does.

        Raises:
            LedgerCorruptError, FencedError: as ``refill`` does.
        """
        book = self._host.ledger
        if book is None:
            return
        try:
            await self._bus.hold(self._host.name)
            newest, _ = await self._look(book)
            if newest != self._host.newest_entry:
                await self.refill()
            await self._serve_slowest(book)
        except (BusGapError, BusUnavailableError):
            await self.connect()

    async def _serve_slowest(self, book: Ledger) -> None:
        known = await self._positions(book)
        if not known or self._host.newest_entry == NO_ENTRY:
            return
        slowest = min(known.values())
        oldest, before = await self._bus.oldest(self._host.name)
        if oldest == NO_ENTRY:
            return  # emptied this moment: the next look refills it
        if slowest < before:
            _log.info("%s: a consumer is at %s, Redis begins behind it", self._host.name, entry_text(slowest))
            await self._begin_again(book, slowest)
            return
        now = asyncio.get_running_loop().time()
        if now >= self._trim_at and len(known) == len(self._consumers):
            self._trim_at = now + TRIM_EVERY_S
            if slowest[0] - oldest[0] >= TRIM_WORTH:
                await self._bus.trim(self._host.name, slowest)

    async def send(self, messages: Sequence[Message]) -> None:
        """Relay what is durable. Broadcasts that Redis does not take are gone, counted; ledgers are refilled.

        Raises:
            LedgerCorruptError, FencedError: as ``refill`` does.
        """
        try:
            await self._deliver(messages)
        except BusUnavailableError as error:
            self._dropped.inc(sum(1 for message in messages if message.entry == NO_ENTRY))
            self._unsent = True
            _log.warning("%s", error)
            if self._waits:
                await self.connect()

    async def _deliver(self, messages: Sequence[Message]) -> None:
        if self._unsent:
            await self.refill()
        try:
            await self._bus.publish(messages)
        except BusGapError as gap:
            _log.warning("%s", gap)
            await self.refill()  # has sent the entries among them, too
            await self._bus.publish([message for message in messages if message.entry == NO_ENTRY])

    async def _rest(self, pause: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), pause)


def _before(entry: EntryId) -> EntryId:
    """A place ahead of an entry and behind every other one before it."""
    transaction, index = entry
    return (transaction, index - 1) if index else (transaction - 1, 1 << 20)
