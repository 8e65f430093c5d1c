"""Sends what a daemon has made durable, and gives Redis what it lacks of the daemon's stream when it was away.

The ledger is the truth: what Redis did not confirm, forgot or never got is read from there and sent again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

from core import ledger
from core.component import Message
from core.errors import BusUnavailableError, LedgerCorruptError
from core.host import ComponentHost
from core.redis_bus import RETRY_FIRST_S, RETRY_MAX_S, RedisBus

TELL_EVERY: Final = 12  # tries to reach Redis between two words about it: a minute
REFILL_BATCH: Final = 500
_log: Final = logging.getLogger("njord.service")


class Tally(Protocol):
    """What counts the broadcasts that nobody got."""

    def inc(self, amount: float) -> None:
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
    """

    def __init__(
        self, host: ComponentHost, bus: RedisBus, stopping: asyncio.Event, dropped: Tally, *, waits: bool
    ) -> None:
        self.waiting_for = ""
        self._host = host
        self._bus = bus
        self._stopping = stopping
        self._dropped = dropped
        self._waits = waits
        self._unsent = False  # messages are in the ledger that Redis did not confirm

    async def connect(self) -> None:
        """Wait for Redis, then give it what it lacks. Raises LedgerCorruptError, see ``refill``."""
        pause, attempt = RETRY_FIRST_S, 0
        while not self._stopping.is_set():
            self.waiting_for = f"Redis at {self._bus.url}"
            try:
                await self._bus.ping()
                await self.refill()
            except BusUnavailableError as error:
                if attempt % TELL_EVERY == 0:
                    _log.warning("%s", error)
                attempt += 1
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause)
                pause = min(pause * 2, RETRY_MAX_S)
                continue
            self.waiting_for = ""
            if attempt:
                _log.info("Redis at %s answers", self._bus.url)
            return

    async def refill(self) -> None:
        """Send what the ledger has and Redis has not.

        Raises:
            BusUnavailableError: Redis does not answer.
            LedgerCorruptError: Redis has more than the ledger, which somebody deleted or replaced.
        """
        book = self._host.ledger
        if book is None:
            return
        newest = await self._bus.last_entry(self._host.name)
        if newest[0] > book.seq:
            raise LedgerCorruptError(
                book.path,
                book.seq,
                f"the ledger ends at transaction {book.seq}, but Redis has its stream up to {newest[0]}: the file was "
                f"deleted, replaced or is not the newest copy. Or, if it was meant to start anew, delete the key "
                f"{self._bus.stream_key(self._host.name)} in Redis and the ledgers of all other daemons",
            )
        if newest < self._host.told:  # otherwise nothing is missing: spare reading the whole ledger
            batch: list[Message] = []
            for message in ledger.messages_after(book.path, self._host.name, newest):
                batch.append(message)
                if len(batch) == REFILL_BATCH:
                    await self._bus.publish(batch)
                    batch.clear()
            await self._bus.publish(batch)
        self._unsent = False

    async def mend(self) -> None:
        """Refill when Redis was emptied while the connection held, or somebody else writes to our stream."""
        try:
            if await self._bus.last_entry(self._host.name) != self._host.told:
                await self.refill()
        except BusUnavailableError:
            await self.connect()

    async def send(self, messages: Sequence[Message]) -> None:
        """Relay what is durable. Broadcasts that Redis does not take are gone, counted; ledgers are refilled."""
        try:
            if self._unsent:
                await self.refill()
            await self._bus.publish(messages)
        except BusUnavailableError as error:
            self._dropped.inc(sum(1 for message in messages if message.entry == (0, 0)))
            self._unsent = True
            _log.warning("%s", error)
            if self._waits:
                await self.connect()
