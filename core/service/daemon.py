"""The service around one component that makes it a daemon: bus, health, metrics, signals, and its end.

Starting up is recovering: fold the ledger, refill what Redis lost of our stream, resume every upstream
stream behind the last entry in our own ledger. Stopping is optional; SIGKILL is a supported way to end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final

from core.bus import RedisBus, Subscription
from core.clock import NS_PER_S, Clock, SystemClock
from core.component import Message, Reporting
from core.contracts import Contract
from core.errors import BusUnavailableError
from core.retry import Draw, unspread
from core.service import maintenance
from core.service.crash_points import Reach, nowhere
from core.service.feed_source import ReadAhead, Source
from core.service.health import HealthServer
from core.service.host import ComponentHost
from core.service.kill_watch import KillSwitchWatch
from core.service.lockstep import Follower, Leader, sent_by
from core.service.metrics import ServiceMetrics
from core.service.processing import Processor
from core.service.relay import Relay
from core.service.reload import Reloader, Reloading
from core.service.settings import ServiceSettings
from core.service.state import ServiceState
from core.service.systemd import Notifier
from core.tasks import end_tasks
from core.topics import Delivery, consumed_by

FEED_BATCH: Final = 512  # raw market events handled between two commits
TURN_S: Final = 0.02  # of handling, after which everybody else in the process has a turn
STATUS_EVERY_S: Final = 0.5  # at most, between two looks at what systemd is to be shown
_log: Final = logging.getLogger("njord.service")

Batches = AsyncGenerator[list[Message], Sequence[Message] | None]


class Service:
    """Runs a host as a daemon until it is told to stop, its source ends, or a fatal error.

    Args:
        host: the component with its ledger and journals.
        bus: the connection to Redis.
        settings: ports, times, lock-step.
        kill_switch: watched by every daemon; a guarded one asks it before every batch that holds an intent or an order.
        guarded: whether the component is told of the kill switch and asked for no decision without it.
        source: the feed of a market data daemon; None for all others.
        startup_events: published when the daemon starts, ahead of any answer.
        reloading: the configuration, for SIGHUP and ``controller.reload``.
        reach: called at every place between two effects, so that a test can end the daemon there.
        notifier: the process's line to systemd.
        draw: spreads what is tried again, so that the daemons that lost one server do not come back at once.
    """

    def __init__(
        self,
        host: ComponentHost,
        bus: RedisBus,
        settings: ServiceSettings,
        *,
        clock: Clock | None = None,
        kill_switch: KillSwitchWatch | None = None,
        guarded: bool = True,
        source: Source | None = None,
        reloading: Reloading | None = None,
        startup_events: Sequence[Contract] = (),
        reach: Reach = nowhere,
        notifier: Notifier | None = None,
        draw: Draw = unspread,
    ) -> None:
        self.host = host
        self.bus = bus
        self.settings = settings
        self.reloader = Reloader(host.name, bus, reloading)
        self.metrics = ServiceMetrics(host, bus, self.reloader, kill_switch, source.counters if source else dict)
        self.health = (
            HealthServer(self.report, self.metrics.registry, settings.bind_host, settings.port)
            if settings.port is not None
            else None
        )
        host.reach = reach
        self._clock = clock or SystemClock()
        self._kill_switch = kill_switch
        self._guard = kill_switch if guarded else None
        self._source = source
        self._startup_events = startup_events
        self._notifier = notifier or Notifier()
        self._stopping = asyncio.Event()
        self._asked = False
        self._feed = ReadAhead(source.events) if source is not None else None
        self._started_ns = self._clock.now_ns()
        self._status = ServiceState()
        self._relay = Relay(
            host, bus, self._stopping, self.metrics.dropped, waits=source is None, clock=self._clock, draw=draw
        )
        self._processor = Processor(host, bus, self._relay, self._guard, self._status, self._stopping, reach, draw)
        watched = None if guarded else kill_switch
        self._maintenance = maintenance.Maintenance(
            host, bus, self._relay, self._processor, watched, self._status, self._stopping
        )
        self._leader = Leader(bus, host.name, settings.followers) if settings.lockstep and source else None
        self._follower = Follower(bus, host) if settings.lockstep and not source else None

    # ---- life

    async def run(self) -> None:
        """Recover, serve, stop. Raises FatalError when the daemon must not go on."""
        transactions = self.host.recover()
        if self.host.ledger is not None:
            _log.info("%s recovered %d transactions", self.host.name, transactions)
        if self._guard is not None:
            self._guard.reported = self.host.halted
        if self.health is not None:
            await self.health.start()
        self._handle_signals()
        self._notifier.ready()  # recovered, and it answers for itself; what it still waits for is its status
        side = [asyncio.create_task(routine) for routine in self._side_routines()]
        in_order = False
        try:
            work = asyncio.create_task(self._work())
            stop = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({work, stop, *side}, return_when=asyncio.FIRST_COMPLETED)
            self._end()  # whatever ended first, the work is to end too
            stop.cancel()
            await self._drain(work)
            in_order = True
        finally:
            self._status.ready = False
            failures = [error for task in side if task.done() and (error := task.exception())]
            await end_tasks(side)
            if self.health is not None:
                await self.health.close()
            await self.bus.close()
            if in_order and not failures:
                self.host.close()
            else:
                self.host.abandon()  # what is not in the ledger by now did not happen
        if failures:
            raise failures[0]

    def _side_routines(self) -> list[Coroutine[Any, Any, None]]:
        """Everything that runs beside the work."""
        beat_s = min(self.settings.heartbeat_s, STATUS_EVERY_S, (self._notifier.watchdog_s or STATUS_EVERY_S) / 2)
        routines = [
            maintenance.publish_heartbeats(self.bus, self.report, self.settings.heartbeat_s),
            maintenance.feed_watchdog(self._notifier, lambda: self.waiting_for, beat_s),
            maintenance.probe_lag(self.metrics),
            maintenance.compress_journals(self.host),
            self.reloader.follow(),
            self.reloader.answer(),
        ]
        if self._follower is None and self._leader is None:
            routines.append(self._maintenance.run())
        return routines

    @property
    def asked_to_stop(self) -> bool:
        """Whether somebody asked the daemon to end."""
        return self._asked

    @property
    def was_ready(self) -> bool:
        """Whether it ever took messages."""
        return self._status.was_ready

    @property
    def waiting_for(self) -> str:
        """The reason why the daemon waits; empty when it does not."""
        return self._relay.waiting_for or self._status.waiting_for

    def stop(self) -> None:
        """Ask the daemon to finish what it is doing and end."""
        self._asked = True
        self._notifier.stopping()
        self._end()

    def _end(self) -> None:
        self._stopping.set()
        if self._feed is not None:
            self._feed.stop()

    def report(self) -> dict[str, Any]:
        """The daemon's state, as ``/health`` shows it."""
        counters, reloader, watch = self.host.counters, self.reloader, self._kill_switch
        return {
            "daemon": self.host.name,
            "pid": os.getpid(),
            "alive": True,
            "ready": self._status.ready and (self._source is not None or self.bus.connected.is_set()),
            "waiting_for": self.waiting_for,
            "uptime_s": (self._clock.now_ns() - self._started_ns) // NS_PER_S,
            "config_hash": reloader.config_hash,
            "kill_switch": watch.source if watch is not None else "",
            "market_time_ns": self.host.clock.now_ns(),
            "handled": counters.handled,
            "emitted": counters.emitted,
            "duplicates": counters.duplicates,
            "errors": dict(counters.errors),
            "lost": dict(counters.lost),
            "missed": dict(counters.missed),
            "restarts": dict(counters.restarts),
            "backwards": self.host.clock.backwards,
            "shed": self.bus.shed,
            "reconnects": self.bus.reconnects,
            "cut_off": self.bus.cut_off,
            "holes": self.bus.holes,
            "transactions": self.host.ledger.seq if self.host.ledger else 0,
            "recoveries": counters.recoveries,
            "reloads": {"done": reloader.reloaded, "refused": reloader.refused, "malformed": reloader.malformed},
            "trouble": str(self.host.trouble or ""),
            **({"feed": dict(self._source.counters())} if self._source is not None else {}),
            **(self.host.component.report() if isinstance(self.host.component, Reporting) else {}),
        }

    async def _drain(self, work: asyncio.Task[None]) -> None:
        """Let the batch in hand finish, within the deadline."""
        if not work.done():
            self.bus.end_subscriptions()
            _, late = await asyncio.wait({work}, timeout=self.settings.drain_s)
            if late:
                work.cancel()
        with suppress(asyncio.CancelledError):
            await work

    # ---- work

    async def _work(self) -> None:
        await self._relay.connect()
        if self._stopping.is_set():
            return
        self._status.waiting_for = "its feed" if self._source is not None else "subscriptions"
        await self._processor.publish(self._startup_events)
        if self.host.ledger is not None:
            await self._maintenance.publish_offsets()
        try:
            if self._source is not None and self._feed is not None:
                await self._serve_source(self._source, self._feed)
            else:
                await self._serve_bus()
        except BusUnavailableError:
            if not self._stopping.is_set():
                raise

    async def _serve_bus(self) -> None:
        patterns = tuple(r.pattern for r in consumed_by(self.host.name) if r.delivery is Delivery.BROADCAST)
        key = self._guard.key if self._guard is not None else None
        subscription = Subscription(patterns, self.host.streams, key, self.host.origins, self.host.listens)
        async with aclosing(self.bus.consume(subscription)) as stream:
            if self._follower is None:
                await self._serve_stream(stream)
            else:
                await self._serve_rounds(self._follower, stream)

    async def _serve_stream(self, stream: Batches) -> None:
        watching = asyncio.create_task(self._become_ready())
        remaining: Sequence[Message] = ()
        try:
            while True:
                batch = await stream.asend(remaining or None)
                _, remaining = await self._processor.process(batch, TURN_S)
                await asyncio.sleep(0)  # the connections are read and health is answered, however much waits
        except StopAsyncIteration:
            return
        finally:
            await end_tasks([watching])

    async def _serve_rounds(self, follower: Follower, stream: Batches) -> None:
        feeding = asyncio.create_task(follower.follow(stream))
        try:
            await self._become_ready()
            async for batch in follower.rounds_until(self._stopping, feeding):
                sent, _ = await self._processor.process(batch)
                await follower.report(sent_by(sent))
        finally:
            await end_tasks([feeding])
        self.stop()

    async def _become_ready(self) -> None:
        await self.bus.connected.wait()
        self._now_ready()

    def _now_ready(self) -> None:
        self._status.serve()
        pages = f"; {self.health.url}/health, {self.health.url}/metrics" if self.health is not None else ""
        _log.info("%s is ready%s", self.host.name, pages)

    async def _serve_source(self, source: Source, feed: ReadAhead) -> None:
        if self._leader is not None:
            await self._leader.start()
        self._now_ready()
        while not self._stopping.is_set():
            events = await feed.batch(1 if self._leader else FEED_BATCH)
            if not events:
                break
            messages: list[Message] = []
            for event in events:
                for message in self.host.handle_local(event):
                    if message.topic:
                        messages.append(message)
                    else:
                        source.on_local(message.event)
            await self._processor.send(messages)
            if self._leader is not None and messages:
                await self._leader.settle(messages)
        await feed.close()  # a feed that failed says why
        if self._leader is not None:
            await self._leader.end()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reloader.reload)
