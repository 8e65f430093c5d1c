"""The five daemons as they are in production, each in a life of its own, and somebody who starts them again."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from backtest.simulation.world.disk import Machine
from backtest.simulation.world.incarnation import Incarnation
from backtest.simulation.world.loop import VirtualLoop
from backtest.simulation.world.market import Tape, feed, journaled_ids
from backtest.simulation.world.network import Network
from backtest.simulation.world.server import ServerState, SimulatedServer
from core import codec
from core.bus import MemoryBus, RedisBus
from core.clock import NS_PER_S
from core.component import Component
from core.config.model import Config
from core.contracts import TradeEvent
from core.daemons import FEED
from core.entries import EntryId
from core.errors import FencedError, JournalWriteError
from core.market.ingest import MarketDataIngest
from core.market.synthetic import START_NS
from core.retry import Draw
from core.service.daemon import Service
from core.service.feed_source import Source
from core.service.host import ComponentHost
from core.service.kill_watch import KillSwitchWatch
from core.service.reload import REQUESTS, Reloading
from core.service.settings import ServiceSettings
from core.service.spec import DaemonSpec, assemble, open_journals, specs_behind_the_feed
from core.service.supervisor import Supervisor
from core.topics import FLEET, row_of
from strategies.manager import StrategyManager
from strategies.registry import StrategyRegistry

URL: Final = "redis://simulated:6379/0"
SETTINGS: Final = ServiceSettings(port=None)
EVENTS_KEPT: Final = 60
RESERVE_BYTES: Final = 16 * 1024  # small, so that it is used up
SNAPSHOT_EVERY: Final = 40  # transactions; few, so that most starts begin from one
SERVER_PAST: Final = 64  # states of the server that are kept


class VirtualClock:
    """The clock that the daemons take for the machine's: it may jump."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.offset_ns = 0
        self.went_back = False
        self._loop = loop

    def jump(self, seconds: int) -> None:
        """Be set to another time."""
        self.offset_ns += seconds * NS_PER_S
        self.went_back = self.went_back or seconds < 0

    def now_ns(self) -> int:
        """Virtual time, UTC epoch nanoseconds."""
        return START_NS + self.offset_ns + int(self._loop.time() * NS_PER_S)


@dataclass
class Record:
    """The events of a run, for its report."""

    loop: VirtualLoop
    recent: deque[str] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    faults: Counter[str] = field(default_factory=Counter)
    crashes: int = 0
    events: int = 0
    unexpected: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Something happened now."""
        self.events += 1
        self.recent.append(f"{self.loop.time():10.3f} s  {text}")

    def fault(self, kind: str, text: str) -> None:
        """Something was done to the fleet."""
        self.faults[kind] += 1
        self.note(f"fault: {text}")


class Fleet:
    """All daemons over one server, one network and one disk.

    Args:
        config: where everything is written, and what is traded.
        market_end_s: the virtual second from which on the market is silent.
    """

    def __init__(
        self, loop: VirtualLoop, config: Config, seed: int, network: Network, machine: Machine, market_end_s: float
    ) -> None:
        self.loop = loop
        self.config = config
        self.network = network
        self.machine = machine
        self.server = SimulatedServer()
        self.clock = VirtualClock(loop)
        self.record = Record(loop)
        self.lives: dict[str, Incarnation] = {}
        self.services: dict[str, Service] = {}
        self.closing = False
        self._seed = seed
        self._random = Random(f"{seed}/fleet")
        self._tape = Tape(seed, config.instruments_table(), tuple(config.instruments))
        self._market_end_s = market_end_s
        self.has_power = asyncio.Event()
        self.has_power.set()
        self._reload_requests = 0
        self._caps = (config.risk.orders_per_min_cap, config.risk.orders_per_min_cap - 10)
        self._uncut = False  # the power failed, and files still hold what that took
        self._server_past: deque[tuple[float, ServerState]] = deque(maxlen=SERVER_PAST)
        self._keepers: list[asyncio.Task[None]] = []
        self._specs: dict[str, DaemonSpec] = {spec.name: spec for spec in specs_behind_the_feed()}
        self._specs["strategy_runner"] = replace(self._specs["strategy_runner"], build=_strategies())

    @property
    def kill_switch_file(self) -> Path:
        """The switch on the machine."""
        return self.config.kill_switch_file

    def start(self) -> None:
        """Start every daemon."""
        self._keepers = [self.loop.create_task(self._keep(name)) for name in FLEET]

    async def stop(self) -> None:
        """Ask every daemon to end, and wait for it."""
        self.closing = True
        for service in self.services.values():
            service.stop()
        await asyncio.gather(*self._keepers)

    async def leave(self) -> None:
        """End every daemon as it is, and start none again."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for life in self.lives.values():
            life.end("left behind")
            await life.gone.wait()

    def crash(self, daemon: str, effects: int) -> None:
        """End the daemon that many effects from now."""
        life = self.lives.get(daemon)
        if life is not None and life.alive:
            life.fuse = effects

    def disarm(self) -> None:
        """Nobody is to crash any more."""
        for life in self.lives.values():
            life.fuse = None

    def request_reload(self, daemon: str) -> None:
        """Ask a daemon on the bus to reload, as a controller does; nobody hears it while the server is down."""
        self._reload_requests += 1
        if not self.network.down:
            request = {"service": daemon, "request_id": f"{daemon}/{self._reload_requests}"}
            self.server.publish(REQUESTS, codec.encode_plain(request))

    def _reloading(self, spec: DaemonSpec, host: ComponentHost) -> Reloading:
        """The configuration of a daemon: each reload gives the risk engine another cap on its order rate."""

        def apply() -> None:
            self._caps = self._caps[1:] + self._caps[:1]
            risk = self.config.risk.model_copy(update={"orders_per_min_cap": self._caps[0]})
            self.config = self.config.model_copy(update={"risk": risk})
            if spec.reload is not None:
                spec.reload(host.component, self.config)

        return Reloading(lambda: str(self._caps[0]), None if spec.reload is None else apply)

    def lose_power(self) -> None:
        """Everything ends now; what was not synced may be gone. ``has_power`` says when it comes back."""
        self.has_power.clear()
        self.server_down()
        for life in self.lives.values():
            life.end("lost its power")
        self._uncut = True
        self._cut_files()

    def server_down(self) -> None:
        """The server ends."""
        self.network.go_down()
        self.server.disconnect_all()

    def remember_server(self) -> None:
        """Keep what the server holds now, for it to come back to."""
        if not self.network.down:
            self._server_past.append((self.loop.time(), self.server.state()))

    def server_forgets(self, seconds: float) -> float:
        """The server is as it was at least so long ago, as far as that is journaled; how long in fact."""
        now = self.loop.time()
        for at, state in reversed(self._server_past):
            if now - at >= seconds:
                self.server.become(state)
                self._server_past = deque((e for e in self._server_past if e[0] <= at), maxlen=SERVER_PAST)
                return now - at
        return 0.0

    # ---- keeping them alive

    async def _keep(self, daemon: str) -> None:
        number = 0
        while not self.closing:
            number += 1
            if not self.has_power.is_set():
                await self.has_power.wait()
            life = Incarnation(daemon, number, self.loop, self.machine, self.server, self.network)
            self.lives[daemon] = life
            life.start(partial(self._live, life))
            await life.gone.wait()
            self._judge(life)
            self._cut_files()
            if not self.closing:
                await asyncio.sleep(0.02 + self._random.random() ** 3 * 4.0)

    def _cut_files(self) -> None:
        """Once after a power loss, when the last one is gone: files lose what was not synced."""
        if self._uncut and all(life.gone.is_set() for life in self.lives.values()):
            self._uncut = False
            self.machine.lose_power()

    def _judge(self, life: Incarnation) -> None:
        """Judge the end of a life: a crash was asked for, an error has to be one that may happen."""
        assert life.main is not None
        error = None if life.main.cancelled() else life.main.exception()
        if life.ended_by != "ended":
            self.record.crashes += 1
            self.record.note(f"{life.name} {life.ended_by}")
        elif error is None:
            self.record.note(f"{life.name} ended")
            if not self.closing:
                self.record.unexpected.append(f"{life.name} ended without being asked to")
        else:
            self.record.note(f"{life.name} ended: {type(error).__name__}: {error}")
            fenced = isinstance(error, FencedError) and self.clock.went_back  # tokens are times: an old one wins then
            if not fenced and not isinstance(error, JournalWriteError):
                self.record.unexpected.append(f"{life.name} ended with {type(error).__name__}: {error}")

    async def _live(self, life: Incarnation) -> None:
        self.record.note(f"{life.name} starts")
        if life.daemon == FEED:
            await self._feed_service(life).run()
            return
        spec = self._specs[life.daemon]
        await Supervisor(
            life.daemon, partial(self._begin, life, spec), SETTINGS, disk=life.disk, draw=self._draw(life)
        ).run()

    def _begin(self, life: Incarnation, spec: DaemonSpec, trouble: JournalWriteError | None) -> Service:
        config = self.config
        host = assemble(
            spec,
            config,
            trouble=trouble,
            disk=life.disk,
            current=lambda: self.config,
            reserve_bytes=RESERVE_BYTES,
            snapshot_every=SNAPSHOT_EVERY,
        )
        bus = self._bus(life)
        service = Service(
            host,
            bus,
            SETTINGS,
            clock=self.clock,
            kill_switch=KillSwitchWatch(str(config.kill_switch_file), bus, config.risk.kill_switch_key),
            guarded=spec.row.guarded,
            draw=self._draw(life),
            startup_events=host.catch_up(),
            reloading=self._reloading(spec, host),
            reach=life.touch,
        )
        self.services[life.daemon] = service
        return service

    def _feed_service(self, life: Incarnation) -> Service:
        config, symbols = self.config, self._tape.symbols
        journals = open_journals(config, life.disk)
        journaled = journaled_ids(journals, symbols)
        last = {symbol: number for (symbol, contract), number in journaled.items() if contract is TradeEvent}
        ingest = MarketDataIngest(config.instruments_table(), symbols, backfill=False, last_ids=last)
        source = Source(feed(self._tape, journaled, self._market_end_s))
        host = ComponentHost(ingest, journals)
        service = Service(
            host, self._bus(life), SETTINGS, clock=self.clock, source=source, reach=life.touch, draw=self._draw(life)
        )
        self.services[life.daemon] = service
        return service

    def _draw(self, life: Incarnation) -> Draw:
        """The randomness of a process: two copies of a daemon spread their attempts differently."""
        return Random(f"{self._seed}/{life.name}").random

    def _bus(self, life: Incarnation) -> RedisBus:
        redis = self.config.redis
        return RedisBus(
            URL,
            prefix=redis.key_prefix,
            timeout_s=redis.timeout_s,
            link=life.link(redis.timeout_s),
            draw=self._draw(life),
        )

    # ---- looking at them

    def unsettled(self, entries: dict[str, dict[EntryId, tuple[str, Any]]]) -> str:
        """The reason why the fleet is not at rest; empty when all entries have been processed and are in the server."""
        for daemon in FLEET:
            if not self.lives[daemon].alive:
                return f"{daemon} is down"
            service = self.services[daemon]
            report = service.report()
            if not report["ready"] or report["waiting_for"]:
                return f"{daemon} waits for {report['waiting_for'] or 'its subscriptions'}"
            if service.host.halted:
                return f"{daemon} has not heard that the kill switch is cleared"
            if service.host.trouble is not None:
                return f"{daemon} cannot write: {service.host.trouble}"
            for producer, place in service.host.streams.items():
                last = max(
                    (p for p, (topic, _) in entries[producer].items() if daemon in row_of(topic).consumers),
                    default=(0, 0),
                )
                if place < last:
                    return f"{daemon} has processed {producer} up to {place}, which is at {last}"
            if daemon in entries:
                newest, _ = self.server.newest(service.bus.stream_key(daemon))
                if newest != service.host.newest_entry:
                    return f"the server has {daemon} up to {newest}, its ledger is at {service.host.newest_entry}"
        return ""

    def progress(self) -> int:
        """Grows while anybody writes to a ledger."""
        return sum(service.host.ledger.seq for service in self.services.values() if service.host.ledger is not None)

    def component(self, daemon: str) -> Component:
        """The daemon's live component."""
        return self.services[daemon].host.component

    def rebuilt(self, daemon: str) -> Component:
        """A new component of the daemon, which has seen nothing."""
        return self._specs[daemon].build(self.config)


def _strategies() -> Callable[[Config], StrategyManager]:
    """The strategy manager's builder, without time limits: a wall clock would decide what a slow machine finds."""
    registry = StrategyRegistry()
    registry.discover()

    def build(config: Config) -> StrategyManager:
        manager = StrategyManager(registry, MemoryBus(), instruments=config.instruments_table(), budget_s=None)
        manager.install({"strategies": config.strategies})
        return manager

    return build


def reload_target(request_id: str) -> str:
    """The daemon that was asked by the request of this id."""
    return request_id.partition("/")[0]
