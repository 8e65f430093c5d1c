"""The processing of messages by a daemon: decide, make durable, then send, one batch after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from math import inf
from typing import Final

from core.bus import RedisBus
from core.bus.redis import RECONNECT
from core.component import Message
from core.contracts import Contract, OrderEvent, OrderIntent
from core.contracts.alerts import RAISED
from core.errors import BusUnavailableError, JournalWriteError
from core.retry import Backoff, BackoffPolicy, Draw
from core.service.crash_points import AFTER_APPLY, AFTER_JOURNAL, AFTER_RELAY, BEFORE_APPLY, Reach
from core.service.host import ComponentHost
from core.service.kill_watch import KillSwitchWatch
from core.service.relay import Relay
from core.service.state import ServiceState
from core.tasks import wait_up_to

DISK_RETRY: Final = BackoffPolicy(initial_s=0.05, cap_s=5.0, healthy_after_s=0.0)
GUARDED: Final = (OrderIntent, OrderEvent)  # before these the kill switch is asked anew
_log: Final = logging.getLogger("njord.service")


class Processor:
    """Takes messages through a host and sends the answers once they are durable.

    Args:
        host: decides and records.
        bus: takes alerts.
        relay: takes the answers.
        kill_switch: asked before every batch that holds an intent or an order; None for daemons that trade nothing.
        status: says what is waited for.
        stopping: set when the daemon is to end; nothing waits beyond that.
        reach: called at every place between two effects, so that a test can end the daemon there.
        draw: spreads what is tried again.

    Attributes:
        turn: held from deciding to sending: what is sent keeps the ledger's order.
    """

    def __init__(
        self,
        host: ComponentHost,
        bus: RedisBus,
        relay: Relay,
        kill_switch: KillSwitchWatch | None,
        status: ServiceState,
        stopping: asyncio.Event,
        reach: Reach,
        draw: Draw,
    ) -> None:
        self.turn = asyncio.Lock()
        self._host = host
        self._bus = bus
        self._relay = relay
        self._kill_switch = kill_switch
        self._status = status
        self._stopping = stopping
        self._reach = reach
        self._draw = draw

    async def process(self, batch: Sequence[Message], turn_s: float = inf) -> tuple[list[Message], Sequence[Message]]:
        """Process a batch, or as much of it as goes into a turn of ``turn_s`` seconds.

        Returns:
            The messages sent, and the rest of the batch.
        """
        loop = asyncio.get_running_loop()
        async with self.turn:
            answers: list[Message] = []
            if any(isinstance(message.event, GUARDED) for message in batch):
                answers += await self.check_kill_switch()
            if not all(message.is_broadcast for message in batch):
                self._reach(BEFORE_APPLY)
            until, remaining = loop.time() + turn_s, iter(batch)
            for message in remaining:
                answers += self._host.handle(message)
                if loop.time() >= until:
                    break
            await self.send(answers)
            return answers, list(remaining)

    async def publish(self, events: Sequence[Contract]) -> None:
        """Record and send events that answer nothing, and whatever an earlier start could not write."""
        messages = [*self._host.report_trouble(), *self._host.publish(events)]
        await self.commit()
        await self._relay.send(messages)

    async def send(self, messages: Sequence[Message]) -> None:
        """Make what was answered durable, then send it."""
        effects = self._host.pending
        if effects:
            self._reach(AFTER_APPLY)
        await self.commit()
        if effects:
            self._reach(AFTER_JOURNAL)
        await self._relay.send(messages)
        if effects:
            self._reach(AFTER_RELAY)

    async def commit(self) -> None:
        """Make everything answered so far durable.

        A daemon with a ledger ends when that cannot be written, and what was refused did not happen. One without
        waits with what it has: nobody can ask it again.

        Raises:
            JournalWriteError: of a ledger; without one only when the daemon is to stop.
        """
        if self._host.ledger is not None:
            self._host.commit()
            return
        backoff = Backoff(DISK_RETRY, self._draw)
        while True:
            try:
                self._host.commit()
            except JournalWriteError as error:
                if self._stopping.is_set():
                    raise
                self._status.waiting_for = str(error)
                await self.publish_alerts()
                await wait_up_to(self._stopping, backoff.failed())
            else:
                self._status.waiting_for = "" if self._status.ready else self._status.waiting_for
                return

    async def check_kill_switch(self) -> list[Message]:
        """Tell the component when the kill switch has changed; what it answers. Waits until both switches are known."""
        if self._kill_switch is None:
            return []
        backoff = Backoff(RECONNECT, self._draw)
        while True:
            try:
                change = await self._kill_switch.check(self._host.clock.now_ns())
            except BusUnavailableError as error:
                if self._stopping.is_set():
                    raise  # the batch comes again after the restart
                _log.warning("no decision without the kill switch: %s", error)
                await wait_up_to(self._stopping, backoff.failed())
                await self._relay.connect()
                continue
            return [] if change is None else self._host.handle_local(change)

    async def publish_alerts(self) -> None:
        """Pass on what a human should know; alerts that Redis does not take stay."""
        while self._host.alerts:
            alert = self._host.alerts.popleft()
            try:
                await self._bus.publish_json(RAISED, alert.to_dict())
            except BusUnavailableError:
                self._host.alerts.appendleft(alert)
                return
