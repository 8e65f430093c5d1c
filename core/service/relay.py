"""The relay of a daemon: sends what is durable, and brings Redis up to date after it was away.

Nothing is remembered between two sends but that something was not confirmed; the stream keeper then finds out what
Redis lacks, and sends it again out of the ledger.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from core.bus import RedisBus
from core.bus.redis import RECONNECT
from core.clock import NS_PER_MS, Clock, SystemClock
from core.component import Message
from core.entries import NO_ENTRY
from core.errors import BusGapError, BusUnavailableError
from core.retry import Backoff, Draw, unspread
from core.service.host import ComponentHost
from core.service.stream_keeper import StreamKeeper
from core.tasks import wait_up_to

LOG_EVERY: Final = 12  # attempts to reach Redis between two log lines: half a minute to a minute
_log: Final = logging.getLogger("njord.service")


class LossCounter(Protocol):
    """The counter of broadcasts that Redis did not take."""

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
        draw: spreads the attempts to reach Redis.
        time_s: seconds that only grow, by which a listener's absence is measured; the event loop's when left out.
    """

    def __init__(
        self,
        host: ComponentHost,
        bus: RedisBus,
        stopping: asyncio.Event,
        dropped: LossCounter,
        *,
        waits: bool,
        clock: Clock | None = None,
        draw: Draw = unspread,
        time_s: Callable[[], float] | None = None,
    ) -> None:
        self._host = host
        self._bus = bus
        self._stopping = stopping
        self._dropped = dropped
        self._waits = waits
        self._clock = clock or SystemClock()  # ambient: dates the claim, decides nothing
        self._draw = draw
        self._keeper = StreamKeeper(host, bus, stopping, draw=draw, time_s=time_s)
        self._unreachable = ""
        self._claimed = False
        self._unsent = False  # messages are in the ledger that Redis did not confirm

    @property
    def waiting_for(self) -> str:
        """The reason why nothing is sent at the moment; empty when there is none."""
        return self._keeper.refilling or self._unreachable

    async def connect(self) -> None:
        """Wait for Redis, take the stream over if that was not done before, then refill it.

        Raises:
            LedgerCorruptError: Redis or a reader has more than the ledger, or Redis has another ledger's entries.
            FencedError: another copy of the daemon has taken the stream over since.
        """
        backoff = Backoff(RECONNECT, self._draw)
        while not self._stopping.is_set():
            self._unreachable = f"Redis at {self._bus.url}"
            try:
                await self._bus.ping()
                await self._take_over()
            except BusUnavailableError as error:
                if backoff.failures % LOG_EVERY == 0:
                    _log.warning("%s", error)
                await wait_up_to(self._stopping, backoff.failed())
                continue
            self._unreachable = ""
            if backoff.failures:
                _log.info("Redis at %s answers", self._bus.url)
            return

    async def _take_over(self) -> None:
        ledger = self._host.ledger
        if ledger is None:
            self._unsent = False
            return
        if not self._claimed:
            # Compared first: a copy that must not send must not stop the one that may.
            await self._keeper.compare(ledger)
            await self._bus.claim(self._host.name, self._clock.now_ns() // NS_PER_MS)
            self._claimed = True
        else:
            await self._bus.hold(self._host.name)
        await self._refill()

    async def maintain(self) -> None:
        """Refill what Redis lost of the stream, keep what its readers need, trim what nobody does.

        Raises:
            LedgerCorruptError, FencedError: as ``connect`` does.
        """
        ledger = self._host.ledger
        if ledger is None:
            return
        try:
            await self._bus.hold(self._host.name)
            newest, _ = await self._keeper.compare(ledger)
            if newest != self._host.newest_entry:
                await self._refill()
            await self._keeper.serve_readers(ledger)
        except (BusGapError, BusUnavailableError):
            await self.connect()

    async def send(self, messages: Sequence[Message]) -> None:
        """Relay what is durable. Broadcasts that Redis does not take are gone, counted; ledgers are refilled.

        Raises:
            LedgerCorruptError, FencedError: as ``connect`` does.
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
            await self._refill()
        try:
            await self._bus.publish(messages)
        except BusGapError as gap:
            _log.warning("%s", gap)
            await self._refill()  # has sent the entries among them, too
            await self._bus.publish([message for message in messages if message.entry == NO_ENTRY])

    async def _refill(self) -> None:
        await self._keeper.refill()
        self._unsent = False
