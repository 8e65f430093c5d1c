"""The keeper of a daemon's stream: Redis has of it what its readers need, refilled out of the ledger and trimmed.

The ledger is the truth: what Redis did not confirm, forgot or never got is read from there and sent again. Every
consumer holds the stream back until it has processed it. A listener does so only while it keeps up; one that was away
for longer than ``LISTENER_PATIENCE_S`` is told behind which entry the stream begins, and never makes it begin earlier.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Final

from core.bus import RedisBus
from core.bus.redis import RECONNECT
from core.component import Message
from core.entries import NO_ENTRY, ConsumerOffset, EntryId, entry_text
from core.errors import BusGapError, LedgerCorruptError
from core.ledger import Ledger
from core.ledger.ledger import messages_after
from core.retry import Backoff, Draw
from core.service.host import ComponentHost
from core.tasks import wait_up_to
from core.topics import consumers_of, listeners_of

REFILL_BATCH: Final = 500
REFILL_TAIL: Final = 1_000  # transactions to begin a lost stream with while an offset is unknown
TRIM_EVERY_S: Final = 5.0
TRIM_WORTH: Final = 1_000  # transactions that nobody needs any more
PROGRESS_S: Final = 2.0  # between two log lines about a long refill
LISTENER_PATIENCE_S: Final = 900.0  # without progress, until a listener holds nothing back any more
_log: Final = logging.getLogger("njord.service")


class StreamKeeper:
    """Keeps one daemon's stream.

    Args:
        host: the daemon.
        bus: the connection to Redis; the stream was claimed over it.
        stopping: set when the daemon is to end; nothing waits beyond that.
        draw: spreads the attempts to refill.
        time_s: seconds that only grow, by which a listener's absence is measured.

    Attributes:
        refilling: what of a long refill is done; empty while there is none.
    """

    def __init__(
        self,
        host: ComponentHost,
        bus: RedisBus,
        stopping: asyncio.Event,
        *,
        draw: Draw,
        time_s: Callable[[], float] | None = None,
    ) -> None:
        self.refilling = ""
        self._host = host
        self._bus = bus
        self._stopping = stopping
        self._draw = draw
        self._time_s = time_s or (lambda: asyncio.get_running_loop().time())
        self._consumers = consumers_of(host.name)
        self._listeners = ListenerPatience(listeners_of(host.name))
        self._offsets: dict[str, ConsumerOffset] = {}  # the latest of each reader, for a server that forgot them
        self._trim_at = 0.0  # the time of the next look at what can go

    # ---- what Redis has

    async def compare(self, ledger: Ledger) -> tuple[EntryId, str]:
        """The newest entry in Redis and its ledger. Raises LedgerCorruptError when ours is not its continuation."""
        newest, identity = await self._bus.newest(self._host.name)
        if newest > self._host.newest_entry:
            raise self._refusal(ledger, f"Redis has its stream up to {newest[0]}")
        if identity and identity != ledger.identity:
            raise self._refusal(
                ledger, f"Redis has a stream of the ledger {identity}, and this one is {ledger.identity}"
            )
        return newest, identity

    async def _published_offsets(self, ledger: Ledger) -> dict[str, ConsumerOffset]:
        """The offsets of those readers that have published one. Raises LedgerCorruptError for one that is ahead."""
        published = await self._bus.consumer_offsets(self._host.name)
        readers = (*self._consumers, *self._listeners.names)
        offsets = {reader: published[reader] for reader in readers if reader in published}
        for reader, offset in offsets.items():
            if offset > self._host.newest_entry:
                raise self._refusal(ledger, f"{reader} has processed it up to {entry_text(offset)}")
        self._listeners.observe(offsets, self._host.newest_entry, self._time_s())
        self._offsets |= offsets
        return offsets

    def _refusal(self, ledger: Ledger, contradiction: str) -> LedgerCorruptError:
        name, bus = self._host.name, self._bus
        return LedgerCorruptError(
            ledger.path,
            ledger.seq,
            f"the ledger ends at transaction {ledger.seq}, but {contradiction}: the file was deleted, replaced or is "
            f"not the newest copy. Or, if it was meant to start anew, stop the fleet, delete the keys "
            f"{bus.stream_key(name)} and {bus.offsets_key(name)} in Redis and move the ledgers of all other daemons "
            "aside",
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
        ledger = self._host.ledger
        backoff = Backoff(RECONNECT, self._draw)
        while ledger is not None and not self._stopping.is_set():
            try:
                newest, identity = await self.compare(ledger)
                if newest != self._host.newest_entry:
                    if newest == NO_ENTRY or not identity:
                        await self._begin_again(ledger, await self._beginning(ledger))
                    else:
                        await self._send_behind(ledger, newest)
                return
            except BusGapError as gap:  # emptied again meanwhile
                _log.warning("%s; refilling it again", gap)
                await wait_up_to(self._stopping, backoff.failed())

    async def _beginning(self, ledger: Ledger) -> EntryId:
        """The entry to begin a lost stream behind: the offset of the slowest reader that holds the stream back.

        While the offset of a consumer is unknown, the last transactions must do: a consumer that needs more sees the
        hole, publishes its offset, and ``serve_readers`` begins the stream again from there.
        """
        await self._published_offsets(ledger)
        needed = self._needed(self._offsets)
        if needed and set(self._consumers) <= set(needed):
            return min(needed.values())
        return min([_tail_of(self._host.newest_entry), *needed.values()])

    def _needed(self, offsets: Mapping[str, ConsumerOffset]) -> dict[str, ConsumerOffset]:
        """The offsets that hold the stream back: of every consumer, and of the listeners that keep up."""
        readers = (*self._consumers, *self._listeners.present(self._time_s()))
        return {reader: offsets[reader] for reader in readers if reader in offsets}

    async def _begin_again(self, ledger: Ledger, offset: EntryId) -> None:
        await self._bus.hold(self._host.name)  # a fenced copy removes nothing
        await self._bus.remove(self._host.name)
        await self._send_behind(ledger, min(offset, _just_before(self._host.newest_entry)), anew=True)

    async def _send_behind(self, ledger: Ledger, offset: EntryId, *, anew: bool = False) -> None:
        """Send the ledger's messages behind an entry, in order; ``anew`` begins a stream that is not there.

        The progress of a long refill is logged.
        """
        name, loop = self._host.name, asyncio.get_running_loop()
        began = logged = loop.time()
        sent, start = 0, NO_ENTRY
        messages = messages_after(ledger.path, name, offset)
        while batch := await self._next_batch(messages):
            if anew and not sent:
                start = batch[0].prev
            await self._bus.publish(batch, start)
            sent += len(batch)
            if loop.time() - logged > PROGRESS_S:
                logged = loop.time()
                at, end = entry_text(batch[-1].entry), entry_text(self._host.newest_entry)
                self.refilling = f"the refill of its stream: {at} of {end}"
                _log.info("%s refills its stream: %d entries sent, at %s of %s", name, sent, at, end)
        self.refilling = ""
        _log.info("%s sent %d entries again that Redis lacked, in %.1f s", name, sent, loop.time() - began)

    async def _next_batch(self, messages: Iterator[Message]) -> list[Message]:
        await asyncio.sleep(0)  # health is answered and the watchdog fed between two batches
        return [] if self._stopping.is_set() else list(islice(messages, REFILL_BATCH))

    # ---- while the daemon runs

    async def serve_readers(self, ledger: Ledger) -> None:
        """Begin the stream earlier for a consumer that needs it, tell late listeners where it begins, and trim it.

        Raises:
            BusUnavailableError, BusGapError: Redis went away, or was emptied this moment.
            LedgerCorruptError: a reader is ahead of the ledger.
        """
        offsets = await self._published_offsets(ledger)
        oldest, start = await self._bus.oldest(self._host.name)
        if oldest == NO_ENTRY or self._host.newest_entry == NO_ENTRY:
            return  # nothing was sent yet; or it was emptied this moment, and the next look refills it
        consumers = [offsets[consumer] for consumer in self._consumers if consumer in offsets]
        if consumers and min(consumers) < start:
            _log.info("%s: a consumer is at %s, Redis begins behind it", self._host.name, entry_text(min(consumers)))
            await self._begin_again(ledger, min(self._needed(offsets).values()))
            return
        if any(offsets[listener] < start for listener in self._listeners.names if listener in offsets):
            await self._bus.publish_beginning(self._host.name, start)
        await self._trim(offsets, oldest)

    async def _trim(self, offsets: Mapping[str, ConsumerOffset], oldest: EntryId) -> None:
        """Let Redis forget what nobody needs, now and then, and only what is worth a command."""
        now = self._time_s()
        first = self._first_needed(offsets)
        if first is None or now < self._trim_at:
            return
        self._trim_at = now + TRIM_EVERY_S
        if first[0] - oldest[0] >= TRIM_WORTH:
            await self._bus.trim(self._host.name, first)

    def _first_needed(self, offsets: Mapping[str, ConsumerOffset]) -> EntryId | None:
        """The oldest entry to keep; None while a reader that holds the stream back has not published its offset."""
        readers = (*self._consumers, *self._listeners.present(self._time_s()))
        if any(reader not in offsets for reader in readers):
            return None
        if not readers:
            return _tail_of(self._host.newest_entry)
        return min(offsets[reader] for reader in readers)


class ListenerPatience:
    """The listeners of a stream, and since when each of them has made no progress.

    A listener is present while it has read everything, or its offset changed within ``LISTENER_PATIENCE_S``. All of
    them count as present when their producer starts.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._offsets: dict[str, ConsumerOffset] = {}
        self._progress_s: dict[str, float] = {}

    def observe(self, offsets: Mapping[str, ConsumerOffset], newest: EntryId, now_s: float) -> None:
        """Note the offsets that are published now."""
        for name in self.names:
            offset = offsets.get(name)
            if name not in self._progress_s or offset == newest or offset != self._offsets.get(name):
                self._progress_s[name] = now_s
            if offset is not None:
                self._offsets[name] = offset

    def present(self, now_s: float) -> tuple[str, ...]:
        """The listeners that hold the stream back."""
        return tuple(name for name in self.names if now_s - self._progress_s.get(name, now_s) <= LISTENER_PATIENCE_S)


def _tail_of(newest: EntryId) -> EntryId:
    """The entry ahead of a stream's last transactions."""
    return max(newest[0] - REFILL_TAIL, 0), 0


def _just_before(entry: EntryId) -> EntryId:
    """A place ahead of an entry and behind every other one before it."""
    transaction, index = entry
    return (transaction, index - 1) if index else (transaction - 1, 1 << 20)
