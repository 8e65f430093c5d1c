"""One seed from beginning to end: storm, calm, rest, and the judgement of everything that was written."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Final, cast

from backtest.simulation.world.auditor import Auditor, BrokenError
from backtest.simulation.world.disk import Machine
from backtest.simulation.world.faults import ALL, KINDS, Strike, calm, named, plan
from backtest.simulation.world.fleet import Fleet
from backtest.simulation.world.installation import INSTRUMENTS, installation
from backtest.simulation.world.invariants import check_journals
from backtest.simulation.world.loop import BusyError, StalledError, VirtualLoop
from backtest.simulation.world.network import Network
from core.component import Durable
from core.daemons import LEDGERED
from core.errors import ConfigError
from core.ledger import ledger

SETTLE_S: Final = 60.0  # virtual seconds after the last fault within which everything must be at rest
MARKET_AFTER_S: Final = 4.0  # how long the market goes on after the last fault: a fleet that survived trades on
_LOOK_S: Final = 0.25
_QUIET_S: Final = 1.0  # for so long nobody writes anything before it counts as rest
_SHOWN: Final = 300  # characters of a state that a violation quotes
_COLLECT_S: Final = 60.0  # between two collections of garbage, at virtual times: finalizers run when the seed says


@dataclass(frozen=True)
class Report:
    """The report of one seed.

    ``faults`` are the kinds that could strike, ``injected`` those that did. ``settled_s`` is how long after the last
    fault everything was at rest. ``recent`` is what happened last; ``violations`` say what broke, in words.
    """

    seed: int
    minutes: float
    faults: tuple[str, ...]
    virtual_s: float
    wall_s: float
    steps: int
    transactions: int
    counts: dict[str, int]
    injected: dict[str, int]
    crashes: int
    reloads: int
    settled_s: float
    violations: tuple[str, ...]
    recent: tuple[str, ...]
    sha256: str

    @property
    def command(self) -> str:
        """The command that repeats this run."""
        faults = "all" if self.faults == ALL else ",".join(self.faults) or "none"
        return (
            f"python -m backtest.simulation.rehearsal --seed {self.seed} --minutes {self.minutes:g} --faults {faults}"
        )


def run(seed: int, minutes: float, faults: str | Sequence[str], keep: Path | None) -> Report:
    """Run one seed. Raises ConfigError for an unknown kind of fault, or when ``keep`` is not empty."""
    names = named(faults if isinstance(faults, str) else ",".join(faults) or "none")
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise ConfigError(f"--keep {keep}: expected an empty folder; name another")
    began = time.perf_counter()
    folder = keep or Path(tempfile.mkdtemp(prefix="njord-rehearsal-", dir=_memory_folder()))
    try:
        with _quiet(), chdir(folder):
            session = Session(seed, minutes, names)
            session.run()
            return session.report(time.perf_counter() - began)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _memory_folder() -> str | None:
    """A folder in memory where the machine has one: a rehearsal knows itself what is synced."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the daemons' log, and without a garbage collector that comes when it likes."""
    log = logging.getLogger("njord")
    level, collects = log.level, gc.isenabled()
    log.setLevel(logging.CRITICAL + 1)
    gc.disable()
    gc.freeze()  # what was there before need not be looked through again and again
    try:
        yield
    finally:
        log.setLevel(level)
        gc.unfreeze()
        if collects:
            gc.enable()


class Session:
    """One run, in the working folder: no path that differs from run to run may come into a ledger."""

    def __init__(self, seed: int, minutes: float, faults: Sequence[str]) -> None:
        self.seed = seed
        self.minutes = minutes
        self.faults = tuple(faults)
        self.storm_s = minutes * 60
        self.settled_s = 0.0
        self.broken: list[str] = []
        self.loop = VirtualLoop()
        self.machine = Machine(Random(f"{seed}/disk"))
        self.network = Network(Random(f"{seed}/network"))
        config = installation()
        self.fleet = Fleet(self.loop, config, seed, self.network, self.machine, self.storm_s + MARKET_AFTER_S)
        self.auditor = Auditor(config.ledger_dir, self.machine, self.fleet.record)
        self.fleet.server.on_added = self.auditor.added
        self.fleet.server.on_published = self.auditor.published
        self.loop.after_step = self._after_step
        self._sides: list[asyncio.Task[None]] = []

    def run(self) -> None:
        """From the first start to the judgement."""
        main = self.loop.create_task(self._main())
        self._sides.append(main)
        try:
            self.loop.run_until_complete(main)
        except BrokenError:
            pass  # it is among what the auditor found
        except (StalledError, BusyError) as error:
            self.broken.append(str(error))
        finally:
            self.loop.after_step = None
            self.fleet.server.on_added = lambda _: None
            self.fleet.server.on_published = lambda _topic, _payload: None
            leaving = self.loop.create_task(self._leave())
            with suppress(RuntimeError):  # a stop that was asked for when the run broke
                self.loop.run_until_complete(leaving)
            self.loop.run_until_complete(leaving)
            self.loop.close()
        self.broken += self.auditor.rules.violations

    def report(self, wall_s: float) -> Report:
        """The report, once it has run."""
        record = self.fleet.record
        injected = record.faults + self.network.counts + self.machine.counts
        return Report(
            seed=self.seed,
            minutes=self.minutes,
            faults=self.faults,
            virtual_s=self.loop.time(),
            wall_s=wall_s,
            steps=self.loop.steps,
            transactions=self.auditor.transactions,
            counts=self.auditor.rules.counts,
            injected=dict(sorted(injected.items())),
            crashes=record.crashes,
            reloads=self.auditor.reloads,
            settled_s=self.settled_s,
            violations=tuple(dict.fromkeys(self.broken)),
            recent=tuple(record.recent),
            sha256=fingerprint(Path()),
        )

    def _after_step(self) -> None:
        self.auditor.look()
        if self.fleet.record.unexpected:
            self.broken += self.fleet.record.unexpected
            raise BrokenError(self.broken[0])

    async def _main(self) -> None:
        self.fleet.start()
        strikes = plan(self.seed, self.faults, self.storm_s)
        storm = self.loop.create_task(self._storm(strikes))
        house = self.loop.create_task(self._keep_house())
        self._sides += (storm, house)
        await asyncio.sleep(self.storm_s)
        storm.cancel()
        calm(self.fleet)
        self.fleet.record.note("the last fault is over")
        await self._settle()
        house.cancel()
        live = {name: self._snapshot(name) for name in LEDGERED}
        await self.fleet.stop()
        self._judge(live)

    async def _leave(self) -> None:
        """End whatever a broken run left behind."""
        for side in self._sides:
            side.cancel()
        await asyncio.gather(*self._sides, return_exceptions=True)
        await self.fleet.leave()

    # ---- what is done to the fleet

    async def _storm(self, strikes: Sequence[Strike]) -> None:
        for strike in strikes:
            await asyncio.sleep(max(0.0, strike.at_s - self.loop.time()))
            kind = KINDS[strike.kind]
            self.fleet.record.fault(kind.name, kind.begin(self.fleet, strike))
            if kind.end is not None:
                self.loop.call_later(strike.for_s, self._end, strike)

    def _end(self, strike: Strike) -> None:
        end = KINDS[strike.kind].end
        if end is not None and self.loop.time() < self.storm_s:  # afterwards all is calm
            end(self.fleet, strike)
            self.fleet.record.note(f"over: {strike.kind}")

    async def _keep_house(self) -> None:
        """The server's past is kept where something may bring it back; garbage goes at virtual times."""
        remembers = {"restore", "power"} & set(self.faults)
        collected = 0.0
        while True:
            await asyncio.sleep(1.0)
            if remembers:
                self.fleet.remember_server()
            if self.loop.time() - collected >= _COLLECT_S:
                collected = self.loop.time()
                gc.collect()

    # ---- coming to rest

    async def _settle(self) -> None:
        """Wait until everything that was said is processed everywhere, and nobody says anything any more."""
        began = self.loop.time()
        await asyncio.sleep(MARKET_AFTER_S)
        seen, since = -1, began
        why = ""
        while self.loop.time() - began < SETTLE_S:
            progress, now = self.fleet.progress(), self.loop.time()
            why = self.fleet.unsettled(self.auditor.rules.entries)
            if why or progress != seen:
                seen, since = progress, now
            elif now - since >= _QUIET_S:
                self.settled_s = since - began
                return
            await asyncio.sleep(_LOOK_S)
        self.settled_s = SETTLE_S
        self.broken.append(f"not at rest {SETTLE_S:g} s after the last fault: {why or 'somebody still writes'}")

    # ---- the judgement

    def _snapshot(self, name: str) -> dict[str, Any]:
        return cast(Durable, self.fleet.component(name)).snapshot()

    def _judge(self, live: dict[str, dict[str, Any]]) -> None:
        rules = self.auditor.rules
        self.auditor.look()
        rules.finish()
        check_journals(self.fleet.config.log_dir, rules, self.auditor.ledgers)
        for name in LEDGERED:
            self._judge_state(name, live[name])
            self._judge_stream(name)
        self._judge_positions()

    def _judge_state(self, name: str, live: dict[str, Any]) -> None:
        """A daemon's memory is the fold of its ledger."""
        fresh = self.fleet.rebuilt(name)
        for transaction in ledger.read(self.auditor.path(name)):
            if not transaction.note:
                cast(Durable, fresh).recover(transaction.cause.event, [event for _, event in transaction.events])
        folded = cast(Durable, fresh).snapshot()
        for part in sorted(folded.keys() | live.keys()):
            if folded.get(part) != live.get(part):
                in_memory, in_ledger = _shown(live.get(part)), _shown(folded.get(part))
                self.auditor.rules.fault(f"{name}: {part} in memory is {in_memory}, its ledger says {in_ledger}")

    def _judge_stream(self, name: str) -> None:
        """The server has the end of the ledger, without a hole."""
        rules = self.auditor.rules
        stream = self.fleet.server.stream(f"{self.fleet.config.redis.key_prefix}:ledger:{name}")
        recorded = list(rules.entries[name])
        places = [entry.id for entry in stream]
        if places != recorded[len(recorded) - len(places) :] or (recorded and not places):
            rules.fault(
                f"the server's stream of {name} is not the end of its ledger: {places[-3:]} for {recorded[-3:]}"
            )

    def _judge_positions(self) -> None:
        """Risk engine and venue hold what the fills add up to."""
        positions = self.auditor.rules.positions
        for name in ("risk_engine", "paper_trader"):
            component = cast(Any, self.fleet.component(name))
            for symbol in INSTRUMENTS:
                qty = Decimal(repr(component.position(symbol).qty))
                if qty != positions.get(symbol, Decimal(0)):
                    self.auditor.rules.fault(
                        f"{name} holds {qty} of {symbol}, the fills add up to {positions.get(symbol)}"
                    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def fingerprint(folder: Path) -> str:
    """SHA-256 over the names and contents of all journals and ledgers."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.ndjson*")):
        digest.update(f"{path.relative_to(folder)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def total(reports: Sequence[Report]) -> Counter[str]:
    """The counts of everything injected over all runs."""
    return sum((Counter(report.injected) for report in reports), Counter())
