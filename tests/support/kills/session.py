"""One session of the kill tests: a fleet of real processes under load suffers a plan, and is looked at afterwards.

Nothing is asserted in here: ``run`` tells in words what was wrong, so that a long run goes on to its table.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Final

from core.daemons import FEED, LEDGERED
from tests.support.fleet_config import busy_installation
from tests.support.invariants import violations, waiting
from tests.support.kills.moments import Sizes, deliveries_of, sizes_now, unsettled
from tests.support.kills.plan import UPSTREAM, Kind, Plan, Strike
from tests.support.kills.server import KillableServer
from tests.support.kills.streams import stream_faults
from tests.support.processes import DAEMONS, Processes
from tests.support.redis_server import spare_port
from tests.support.waiting import Deadline, patience, pause

READY_S: Final = 120.0  # in which a daemon that was killed has to be back: a loaded machine is no failure
CRASH_S: Final = 120.0  # in which a named place has to be passed under load
HUNT_S: Final = 2.0  # in which work for the target is waited for
SETTLE_S: Final = 120.0
_POLL_S: Final = 0.005
_REST_POLL_S: Final = 0.1
_LOOK_S: Final = 0.000_2
_SAID: Final = b'"events":[{'  # in a transaction that answered something
EVERYONE: Final = (*DAEMONS, FEED)


class NotOverItError(Exception):
    """The fleet did not get over a strike: what was expected, and what the daemon said last."""


@dataclass(frozen=True, slots=True)
class Feed:
    """The load: what ``--feed`` is given, and how much faster than it was recorded."""

    source: str
    speed: str

    @property
    def options(self) -> tuple[str, ...]:
        """The options of md_ingest."""
        return ("--feed", self.source, "--speed", self.speed)


@dataclass(slots=True)
class Struck:
    """What became of one strike: seconds into the session, messages under way, milliseconds from exec to ready of
    every daemon that was started for it (or from the signal to go on, of one that was frozen)."""

    strike: Strike
    at_s: float
    sizes: Sizes
    unsettled: int = 0
    recovered_ms: list[tuple[str, float]] = field(default_factory=list)


@dataclass(slots=True)
class Outcome:
    """What a session came to."""

    plan: Plan
    struck: list[Struck] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    transactions: int = 0
    wall_s: float = 0.0

    @property
    def kills(self) -> int:
        """How many strikes ended a process by SIGKILL."""
        return sum(hit.strike.deadly for hit in self.struck)


class KillSession:
    """A fleet, its server and a plan.

    Args:
        modules: what Python runs instead of a daemon's own module, for proving that a fault would be found.
        settle_s: how long the fleet may take to come to rest.
        on_strike: called with each strike when the fleet is over it.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        feed: Feed,
        *,
        modules: Mapping[str, Sequence[str]] | None = None,
        settle_s: float = SETTLE_S,
        on_strike: Callable[[Struck], None] = lambda _: None,
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.feed = feed
        self._modules = modules or {}
        self._settle_s = settle_s
        self._on_strike = on_strike
        self._outcome = Outcome(plan)
        self._server = KillableServer(plan.sync)
        self._started = 0.0
        self._following: Strike | None = None
        self._armed: Strike | None = None  # a crash whose victim runs already
        self._run: dict[Kind, Callable[[Strike, Struck], None]] = {
            Kind.KILL: self._kill, Kind.CRASH: self._crash, Kind.ALL: self._kill_all, Kind.BOTH: self._kill_both,
            Kind.SERVER: self._kill_server, Kind.SERVER_FORGETS: self._forget, Kind.FREEZE: self._freeze,
            Kind.FREEZE_SERVER: self._freeze_server, Kind.EMPTY: self._empty, Kind.TWIN: self._twin,
        }  # fmt: skip

    def run(self) -> Outcome:
        """Start everything, strike, let the fleet come to rest, stop it and look at what it wrote."""
        self._started = time.monotonic()
        root = busy_installation(self.folder)
        run = self.folder / "run"
        with self._server as server, Processes(server.url, run, root, NJORD_REDIS__TIMEOUT_S="1") as self.fleet:
            try:
                self._start_all()
                for strike, following in zip_longest(self.plan.strikes, self.plan.strikes[1:]):
                    self._following = following
                    self._suffer(strike)
                self._come_to_rest()
            except NotOverItError as error:
                self._fault(str(error))
        self._outcome.violations += violations(run, settled=not self._outcome.violations)
        self._reckon(run)
        self._outcome.wall_s = time.monotonic() - self._started
        return self._outcome

    # ---- the strikes

    def _suffer(self, strike: Strike) -> None:
        pause(strike.pause_s)
        if strike.hunted:
            self._await_work(UPSTREAM.get(strike.target, LEDGERED))
        struck = Struck(strike, time.monotonic() - self._started, sizes_now(self.fleet.ledgers))
        self._outcome.struck.append(struck)
        self._run[strike.kind](strike, struck)
        self._all_ready(strike)
        self._on_strike(struck)

    def _kill(self, strike: Strike, struck: Struck) -> None:
        self.fleet.kill(strike.target)
        pause(strike.down_s)
        self._start_again(struck, strike.target)

    def _kill_all(self, strike: Strike, struck: Struck) -> None:
        for name in EVERYONE:
            self.fleet.running[name].kill()
        for name in EVERYONE:
            self.fleet.running[name].wait()
        self._start_again(struck, *EVERYONE)

    def _kill_both(self, strike: Strike, struck: Struck) -> None:
        self._server.kill()
        self.fleet.kill(strike.target)
        pause(strike.down_s)
        self._server.start()
        self._start_again(struck, strike.target)

    def _crash(self, strike: Strike, struck: Struck) -> None:
        """Start the daemon with the place where it is to end, and see that it ends there."""
        name = strike.target
        if self._armed is not strike:
            self._end_well(name)
            self._arm(strike)
        try:
            code = self.fleet.running[name].wait(patience(CRASH_S))
        except subprocess.TimeoutExpired:
            raise NotOverItError(f"{strike}: the place was not passed in {CRASH_S:g} s") from None
        if code != -signal.SIGKILL:
            raise NotOverItError(f"{strike}: ended with {code} instead\n{self._last_words(name)}")
        struck.at_s, struck.sizes = time.monotonic() - self._started, sizes_now(self.fleet.ledgers)
        self._armed, following = None, self._following
        if following is not None and (following.kind, following.target) == (strike.kind, name):
            self._await_ready(struck, {name: self._arm(following)})  # what comes back is to crash next
        else:
            self._start_again(struck, name)

    def _arm(self, strike: Strike) -> float:
        self._armed = strike
        return self._start(strike.target, NJORD_CRASH_AT=f"{strike.point}:{strike.passing}")

    def _kill_server(self, strike: Strike, struck: Struck) -> None:
        self._server.kill()
        pause(strike.down_s)
        self._server.start()

    def _forget(self, strike: Strike, struck: Struck) -> None:
        """What a machine that loses power costs a server which syncs every second: the end of its file."""
        kept = self._server.written()
        pause(strike.down_s)
        struck.sizes = sizes_now(self.fleet.ledgers)
        self._server.kill()
        self._server.cut(kept)
        self._server.start()

    def _freeze(self, strike: Strike, struck: Struck) -> None:
        process = self.fleet.running[strike.target]
        process.send_signal(signal.SIGSTOP)
        pause(strike.down_s)
        process.send_signal(signal.SIGCONT)
        self._await_ready(struck, {strike.target: time.monotonic()})

    def _freeze_server(self, strike: Strike, struck: Struck) -> None:
        self._server.stop_now()
        pause(strike.down_s)
        self._server.resume()

    def _empty(self, strike: Strike, struck: Struck) -> None:
        self._server.flush()

    def _twin(self, strike: Strike, struck: Struck) -> None:
        """A second copy on the same folder is refused, even while the first one does nothing."""
        first = self.fleet.running[strike.target]
        first.send_signal(signal.SIGSTOP)
        second = self.fleet.spawn(strike.target, spare_port(), module=self._modules.get(strike.target, ()))
        try:
            code = second.wait(patience(READY_S))
        except subprocess.TimeoutExpired:
            code = None
        finally:
            second.kill()
            second.wait()
            first.send_signal(signal.SIGCONT)
        if code != 1:
            raise NotOverItError(f"{strike}: expected a second copy to end with 1, got {code}")
        self._await_ready(struck, {strike.target: time.monotonic()})

    # ---- the fleet

    def _start(self, name: str, **environ: str) -> float:
        options = self.feed.options if name == FEED else ()
        begun = time.monotonic()
        self.fleet.start(name, *options, module=self._modules.get(name, ()), environ=environ)
        return begun

    def _start_all(self) -> None:
        begun = {name: self._start(name) for name in DAEMONS}
        self._await_ready(None, begun)
        self._await_ready(None, {FEED: self._start(FEED)})

    def _start_again(self, struck: Struck, *names: str) -> None:
        self._await_ready(struck, {name: self._start(name) for name in names})

    def _await_ready(self, struck: Struck | None, begun: Mapping[str, float]) -> None:
        waiting_for, deadline = dict(begun), Deadline(READY_S)
        while waiting_for:
            for name, since in list(waiting_for.items()):
                if self._look_after(name):
                    del waiting_for[name]  # it was to crash, and was quicker than we are
                elif self.fleet.health(name).get("ready", False):
                    del waiting_for[name]
                    if struck is not None:
                        struck.recovered_ms.append((name, 1000 * (time.monotonic() - since)))
                elif deadline.passed:
                    raise NotOverItError(f"{name} is not ready after {deadline}\n{self._last_words(name)}")
            pause(_POLL_S)

    def _all_ready(self, strike: Strike) -> None:
        """Everybody else is still there and found its way back to the server."""
        try:
            self._await_ready(None, dict.fromkeys(EVERYONE, time.monotonic()))
        except NotOverItError as error:
            raise NotOverItError(f"after {strike}: {error}") from None

    def _look_after(self, name: str) -> bool:
        """Whether the daemon ended as was planned."""
        code = self.fleet.running[name].poll()
        if code == -signal.SIGKILL and self._armed is not None and self._armed.target == name:
            return True
        if code is not None:
            raise NotOverItError(f"{name} ended with {code}\n{self._last_words(name)}")
        return False

    def _await_work(self, upstream: Sequence[str]) -> None:
        """Wait until one of these ledgers says something: what was just written there is on its way."""
        ledgers = [path.open("rb") for name in upstream if (path := self.fleet.ledgers / f"{name}.ndjson").exists()]
        with ExitStack() as stack:
            for ledger in ledgers:
                stack.enter_context(ledger).seek(0, os.SEEK_END)
            deadline = time.monotonic() + HUNT_S
            while time.monotonic() < deadline and not any(_SAID in ledger.read() for ledger in ledgers):
                pause(_LOOK_S)

    def _end_well(self, name: str) -> None:
        process = self.fleet.running[name]
        process.terminate()
        try:
            code = process.wait(patience(READY_S))
        except subprocess.TimeoutExpired:
            raise NotOverItError(f"{name} did not end in {READY_S:g} s when told to") from None
        if code != 0:
            raise NotOverItError(f"{name} was told to end and did with {code}\n{self._last_words(name)}")

    def _come_to_rest(self) -> None:
        self._end_well(FEED)
        run, deadline = self.fleet.folder, Deadline(self._settle_s)
        while unprocessed := waiting(run):
            for name in DAEMONS:
                self._look_after(name)
            if deadline.passed:
                waits = f"{len(unprocessed)} messages wait: {unprocessed[:3]}"
                raise NotOverItError(f"not at rest after {deadline}, {waits}")
            pause(_REST_POLL_S)
        self._outcome.violations += stream_faults(self._server.url, run)
        for name in DAEMONS:
            self._end_well(name)

    # ---- what is told of it

    def _reckon(self, run: Path) -> None:
        deliveries = deliveries_of(run / "ledgers")
        for hit in self._outcome.struck:
            hit.unsettled = unsettled(deliveries, hit.sizes)
        for path in (run / "ledgers").glob("*.ndjson"):
            self._outcome.transactions += path.read_bytes().count(b"\n")

    def _fault(self, text: str) -> None:
        self._outcome.violations.append(text)

    def _last_words(self, name: str) -> str:
        return "\n".join(self.fleet.stderr(name).splitlines()[-8:])
