"""The shell around one component that makes it a daemon: bus, kill switch, health, metrics, signals, heartbeat.

Starting up is recovering: fold the ledger, refill what Redis lost of our stream, resume every upstream
stream behind the last entry in our own ledger. Stopping is optional; SIGKILL is a supported way to end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from math import inf
from typing import Any, Final

from core.bus import RedisBus, Subscription
from core.bus.redis import RETRY_FIRST_S, RETRY_MAX_S
from core.clock import NS_PER_S, Clock, SystemClock
from core.component import Message, Reporting
from core.contracts import Contract, OrderEvent, OrderIntent
from core.contracts.alerts import RAISED
from core.errors import BusUnavailableError, JournalWriteError, NjordError
from core.journal.rotation import compress_closed
from core.service.crash_points import AFTER_APPLY, AFTER_JOURNAL, AFTER_RELAY, BEFORE_APPLY, Reach, nowhere
from core.service.feed_source import ReadAhead, Source
from core.service.health import HealthServer
from core.service.host import ComponentHost
from core.service.kill_watch import KillSwitchWatch
from core.service.lockstep import Follower, Leader, sent_by
from core.service.metrics import ServiceMetrics
from core.service.relay import Relay
from core.service.settings import ServiceSettings
from core.tasks import end_tasks
from core.topics import Delivery, consumed_by

FEED_BATCH: Final = 512  # raw market events handled between two commits
TIDY_EVERY_S: Final = 600
LAG_PROBE_S: Final = 0.5
TURN_S: Final = 0.02  # of handling, after which everybody else in the process has a turn
MIND_S: Final = 0.5  # between two looks at the kill switch and at what Redis still has, whether anything happens or not
GUARDED: Final = (OrderIntent, OrderEvent)  # before these the kill switch is asked anew
_log: Final = logging.getLogger("njord.service")

Batches = AsyncGenerator[list[Message], Sequence[Message] | None]


class Service:
    """Runs a host as a daemon until it is told to stop, its source ends, or a fatal error.

    Args:
        host: the component with its ledger and journals.
        bus: the connection to Redis.
        settings: ports, times, lock-step.
        kill_switch: asked before every batch that holds an intent or an order; None for daemons that trade nothing.
        source: the feed of a market data daemon; None for all others.
        first_words: what the daemon has to tell when it starts.
        reload: called on SIGHUP and ``controller.reload``; raises ConfigError when the new configuration is bad.
        reach: told of every place between two effects, so that a test can end the daemon there.
    """

    def __init__(
        self,
        host: ComponentHost,
        bus: RedisBus,
        settings: ServiceSettings,
        *,
        clock: Clock | None = None,
        kill_switch: KillSwitchWatch | None = None,
        source: Source | None = None,
        reload: Callable[[], None] | None = None,
        first_words: Sequence[Contract] = (),
        reach: Reach = nowhere,
    ) -> None:
        self.host = host
        self.bus = bus
        self.settings = settings
        self.metrics = ServiceMetrics(host, bus)
        self.health = (
            HealthServer(self.report, self.metrics.registry, settings.bind_host, settings.port)
            if settings.port is not None
            else None
        )
        self._reach = host.reach = reach
        self._clock = clock or SystemClock()
        self._kill_switch = kill_switch
        self._source = source
        self._reload = reload
        self._first_words = first_words
        self._stopping = asyncio.Event()
        self._asked = self._was_ready = False
        self._feed = ReadAhead(source.events) if source is not None else None
        self._started_ns = self._clock.now_ns()
        self._ready = False
        self._waiting_for = "start"
        self._relay = Relay(host, bus, self._stopping, self.metrics.dropped, waits=source is None, clock=self._clock)
        self._turn = asyncio.Lock()  # held from handling to sending: what is sent keeps the ledger's order
        self._leader = Leader(bus, host.name, settings.followers) if settings.lockstep and source else None
        self._follower = Follower(bus, host) if settings.lockstep and not source else None

    # ---- life

    async def run(self) -> None:
        """Recover, serve, stop. Raises FatalError when the daemon must not go on."""
        recovered = self.host.recover()
        if self.host.ledger is not None:
            _log.info("%s recovered %d transactions", self.host.name, recovered)
        if self._kill_switch is not None:
            self._kill_switch.told = self.host.halted
        if self.health is not None:
            await self.health.start()
        self._handle_signals()
        side = [asyncio.create_task(each) for each in (self._heartbeat(), self._probe_lag(), self._tidy())]
        if self._reload is not None:
            side.append(asyncio.create_task(self._watch_reload()))
        if self._follower is None and self._leader is None:
            side.append(asyncio.create_task(self._mind()))
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
            self._ready = False
            _notify("STOPPING=1")
            failed = [error for task in side if task.done() and (error := task.exception())]
            await end_tasks(side)
            if self.health is not None:
                await self.health.close()
            await self.bus.close()
            if in_order and not failed:
                self.host.close()
            else:
                self.host.abandon()  # what is not in the ledger by now did not happen
        if failed:
            raise failed[0]

    @property
    def asked_to_stop(self) -> bool:
        """Whether somebody asked the daemon to end."""
        return self._asked

    @property
    def was_ready(self) -> bool:
        """Whether it ever took messages."""
        return self._was_ready

    def stop(self) -> None:
        """Ask the daemon to finish what it is doing and end."""
        self._asked = True
        self._end()

    def _end(self) -> None:
        self._stopping.set()
        if self._feed is not None:
            self._feed.stop()

    def report(self) -> dict[str, Any]:
        """The daemon's state, as ``/health`` tells it."""
        counters = self.host.counters
        self.metrics.refresh()
        return {
            "daemon": self.host.name,
            "pid": os.getpid(),
            "alive": True,
            "ready": self._ready and (self._source is not None or self.bus.connected.is_set()),
            "waiting_for": self._relay.waiting_for or self._waiting_for,
            "uptime_s": (self._clock.now_ns() - self._started_ns) // NS_PER_S,
            "market_time_ns": self.host.clock.now_ns(),
            "handled": counters.handled,
            "emitted": counters.emitted,
            "duplicates": counters.duplicates,
            "errors": dict(counters.errors),
            "lost": dict(counters.lost),
            "restarts": dict(counters.restarts),
            "backwards": self.host.clock.backwards,
            "shed": self.bus.shed,
            "reconnects": self.bus.reconnects,
            "cut_off": self.bus.cut_off,
            "holes": self.bus.holes,
            "transactions": self.host.ledger.seq if self.host.ledger else 0,
            "renewals": counters.renewals,
            "trouble": str(self.host.trouble or ""),
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
        self._waiting_for = "its feed" if self._source is not None else "subscriptions"
        told = [*self.host.tell_trouble(), *self.host.say(self._first_words)]
        await self._commit()
        await self._relay.send(told)
        if self.host.ledger is not None:
            await self._say_how_far()
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
        key = self._kill_switch.key if self._kill_switch is not None else None
        wanted = Subscription(patterns, self.host.streams, key, self.host.origins)
        async with aclosing(self.bus.consume(wanted)) as stream:
            if self._follower is None:
                await self._serve_stream(stream)
            else:
                await self._serve_rounds(self._follower, stream)

    async def _serve_stream(self, stream: Batches) -> None:
        watching = asyncio.create_task(self._become_ready())
        left: Sequence[Message] = ()
        try:
            while True:
                batch = await stream.asend(left or None)
                _, left = await self._handle(batch, TURN_S)
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
                out, _ = await self._handle(batch)
                await follower.report(sent_by(out))
        finally:
            await end_tasks([feeding])
        self.stop()

    async def _become_ready(self) -> None:
        await self.bus.connected.wait()
        self._now_ready()

    def _now_ready(self) -> None:
        self._ready, self._was_ready, self._waiting_for = True, True, ""
        _notify("READY=1")
        where = f"; {self.health.url}/health, {self.health.url}/metrics" if self.health is not None else ""
        _log.info("%s is ready%s", self.host.name, where)

    async def _handle(self, batch: Sequence[Message], turn_s: float = inf) -> tuple[list[Message], Sequence[Message]]:
        """Process a batch, or as much of it as goes into a turn, make it durable, send what it answered.

        Returns:
            What was answered, and what is left of the batch.
        """
        loop = asyncio.get_running_loop()
        async with self._turn:
            out: list[Message] = []
            if any(isinstance(m.event, GUARDED) for m in batch):
                out += await self._ask_kill_switch()
            if any(m.entry != (0, 0) for m in batch):
                self._reach(BEFORE_APPLY)
            until, left = loop.time() + turn_s, iter(batch)
            for message in left:
                out += self.host.handle(message)
                if loop.time() >= until:
                    break
            await self._tell(out)
            return out, list(left)

    async def _tell(self, out: Sequence[Message]) -> None:
        """Make what was answered durable, then send it."""
        effects = self.host.pending
        if effects:
            self._reach(AFTER_APPLY)
        await self._commit()
        if effects:
            self._reach(AFTER_JOURNAL)
        await self._relay.send(out)
        if effects:
            self._reach(AFTER_RELAY)

    async def _commit(self) -> None:
        """Make everything answered so far durable.

        A daemon with a ledger ends when that cannot be written, and what was refused did not happen. One without
        waits with what it has: nobody can ask it again.

        Raises:
            JournalWriteError: of a ledger; without one only when the daemon is to stop.
        """
        if self.host.ledger is not None:
            self.host.commit()
            return
        pause = RETRY_FIRST_S
        while True:
            try:
                self.host.commit()
            except JournalWriteError as error:
                if self._stopping.is_set():
                    raise
                self._waiting_for = str(error)
                await self._pass_on_alerts()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause)
                pause = min(pause * 2, RETRY_MAX_S)
            else:
                self._waiting_for = "" if self._ready else self._waiting_for
                return

    async def _ask_kill_switch(self) -> list[Message]:
        if self._kill_switch is None:
            return []
        pause = RETRY_FIRST_S
        while True:
            try:
                change = await self._kill_switch.check(self.host.clock.now_ns())
            except BusUnavailableError as error:
                if self._stopping.is_set():
                    raise  # the batch comes again after the restart
                _log.warning("no decision without the kill switch: %s", error)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause)
                pause = min(pause * 2, RETRY_MAX_S)
                await self._relay.connect()
                continue
            return [] if change is None else self.host.handle_local(change)

    async def _mind(self) -> None:
        """While nothing happens: has the kill switch changed, can the disk be written again, has Redis lost what waits
        there for others, how far have we come?"""
        while not self._stopping.is_set():
            await asyncio.sleep(MIND_S)
            await self._pass_on_alerts()
            if self._ready and self.host.ledger is not None:
                async with self._turn:
                    await self._mind_ledger()

    async def _mind_ledger(self) -> None:
        with suppress(BusUnavailableError):  # only when the daemon is to stop
            self.host.mend()
            told = [*self.host.tell_trouble(), *await self._ask_kill_switch()]
            await self._tell(told)
        await self._relay.maintain()
        await self._say_how_far()

    async def _say_how_far(self) -> None:
        """Tell the producers upstream which of their entries they need to keep for this daemon."""
        if self.host.streams:
            with suppress(BusUnavailableError):  # said again in a moment
                await self.bus.publish_offsets(self.host.name, self.host.streams)

    async def _pass_on_alerts(self) -> None:
        while self.host.alerts:
            alert = self.host.alerts.popleft()
            try:
                await self.bus.publish_json(RAISED, alert.to_dict())
            except BusUnavailableError:
                self.host.alerts.appendleft(alert)  # they stay until somebody can hear them
                return

    async def _serve_source(self, source: Source, feed: ReadAhead) -> None:
        if self._leader is not None:
            await self._leader.start()
        self._now_ready()
        while not self._stopping.is_set():
            events = await feed.batch(1 if self._leader else FEED_BATCH)
            if not events:
                break
            out: list[Message] = []
            for event in events:
                for message in self.host.handle_local(event):
                    if message.topic:
                        out.append(message)
                    else:
                        source.on_local(message.event)
            await self._tell(out)
            if self._leader is not None and out:
                await self._leader.settle(out)
        await feed.close()  # a feed that failed says why
        if self._leader is not None:
            await self._leader.end()

    # ---- beside the work

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload_now)

    def _reload_now(self) -> None:
        if self._reload is None:
            _log.info("nothing to reload: the configuration of %s takes a restart", self.host.name)
            return
        try:
            self._reload()
        except NjordError as error:
            _log.error("configuration not reloaded, the old one stays in force: %s", error)
        else:
            _log.info("configuration reloaded")

    async def _watch_reload(self) -> None:
        async for _ in self.bus.follow("controller.reload"):
            self._reload_now()

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self.settings.heartbeat_s)
            _notify("WATCHDOG=1")
            with suppress(BusUnavailableError):
                await self.bus.publish_json("telemetry.heartbeat", self.report())

    async def _tidy(self) -> None:
        """Compress rotated journals; the folder's lock sees to it that one daemon at a time does."""
        while True:
            await asyncio.sleep(TIDY_EVERY_S)
            try:
                await asyncio.to_thread(compress_closed, self.host.journals.folder, older_than_s=TIDY_EVERY_S)
            except (OSError, NjordError) as error:
                _log.warning("rotated journals not compressed, tried again in %d s: %s", TIDY_EVERY_S, error)

    async def _probe_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(LAG_PROBE_S)
            self.metrics.loop_lag.set(max(0.0, loop.time() - before - LAG_PROBE_S))


def _notify(state: str) -> None:
    """Tell systemd, when it started us."""
    if os.environ.get("NOTIFY_SOCKET"):
        import sdnotify

        sdnotify.SystemdNotifier().notify(state)
