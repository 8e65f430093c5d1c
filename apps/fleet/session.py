"""An embedded session: a folder, a feed and the fleet behind it, and the fingerprint of everything it wrote."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from apps.md_ingest.main import SPEC as MD_INGEST
from apps.md_ingest.source import MarketSource
from apps.registry import BEHIND_THE_FEED
from core.clock import SystemClock
from core.config import Config
from core.config.record import record_config
from core.contracts import Contract
from core.errors import NjordError
from core.service.embedded import EmbeddedFleet, Observer
from core.service.kill_watch import KillSwitchWatch
from core.service.launch import assemble
from execution import PaperVenue
from execution.account import AccountSummary
from risk import RiskEngine
from strategies.manager import StrategyManager

CHECK_EVERY_S: Final = 0.1  # wall time between two looks at the kill switch and the screen
CHECK_EVERY: Final = 32  # raw events between two looks at the clock
APP_LOG: Final = "app.ndjson"  # what happened, with wall times: not part of the result


@dataclass(frozen=True)
class Progress:
    """The progress of a session. ``elapsed_s`` is wall time."""

    events: int
    messages: int
    elapsed_s: float


class Session:
    """Runs the fleet on one source until it ends or ``stop`` is called.

    Args:
        config: its folders are where everything is written.
        source: the feed and its ingest component.
        observer: called with every round of messages.
        durable: whether ledgers wait for the disk.
    """

    def __init__(
        self, config: Config, source: MarketSource, observer: Observer | None = None, *, durable: bool = True
    ) -> None:
        hosts = [assemble(spec, config, durable=durable, reserve_bytes=0) for spec in BEHIND_THE_FEED]
        self._hosts = {host.name: host for host in hosts}
        self.config = config
        self.source = source
        self.fleet = EmbeddedFleet(assemble(MD_INGEST, config, source.ingest), hosts, observer)
        self.events = 0
        self.interventions = 0  # changes of the kill switch: not repeatable from the feed
        self.stopped = False
        self._started = time.monotonic()
        self._looked = self._started
        self._ended: float | None = None
        self._failure: NjordError | None = None
        self._watch = KillSwitchWatch(str(config.kill_switch_file))

    @property
    def venue(self) -> PaperVenue:
        """The simulated venue as it stands."""
        return cast(PaperVenue, self._hosts["paper_trader"].component)

    @property
    def risk(self) -> RiskEngine:
        """The risk engine as it stands."""
        return cast(RiskEngine, self._hosts["risk_engine"].component)

    @property
    def strategies(self) -> StrategyManager:
        """The strategies as they stand."""
        return cast(StrategyManager, self._hosts["strategy_runner"].component)

    @property
    def accounts(self) -> tuple[AccountSummary, ...]:
        """The account of every quote currency that is traded: amounts of two currencies are never added up."""
        instruments = self.config.instruments_table()
        currencies = dict.fromkeys(instruments[symbol].quote for symbol in self.source.feed.symbols)
        return tuple(self.venue.account(currency) for currency in currencies)

    @property
    def kill_switch(self) -> str:
        """The file that trips the kill switch now; empty when nothing does."""
        return self._watch.source

    @property
    def progress(self) -> Progress:
        """The progress so far."""
        elapsed = (self._ended or time.monotonic()) - self._started
        return Progress(self.events, self.fleet.messages, elapsed)

    def stop(self) -> None:
        """End after the event in hand; everything written stays complete."""
        self.stopped = True

    async def run(self, on_look: Callable[[], None] = lambda: None) -> None:
        """Take the whole feed through the fleet; ``on_look`` is called ten times a second.

        Raises:
            FatalError: a ledger or journal could not be written, the feed cannot be used.
        """
        record_config(self.config, SystemClock().now_ns())
        self.fleet.recover()
        self._watch.reported = any(host.halted for host in self.fleet.hosts)
        self._look(on_look)
        looking = asyncio.create_task(self._look_regularly(on_look))
        try:
            async with aclosing(self.source.feed.stream()) as stream:
                async for event in stream:
                    self._take(event)
                    if self.stopped:
                        break
                    if self.events % CHECK_EVERY == 0:
                        self._look(on_look)
            self._ended = time.monotonic()
            on_look()
        finally:
            if not self.stopped:  # else it closes the feed, which takes its time
                looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await self.source.feed.aclose()
            self.fleet.close()
        if self._failure is not None:
            raise self._failure

    async def _look_regularly(self, on_look: Callable[[], None]) -> None:
        """Look also while a live feed is silent; closing a feed that waits ends its stream."""
        while not self.stopped:
            await asyncio.sleep(CHECK_EVERY_S)
            try:
                self._look(on_look)
            except NjordError as error:
                self._failure = error
                self.stop()
        await self.source.feed.aclose()

    def _take(self, event: Contract) -> None:
        self.events += 1
        for request in self.fleet.feed(event):
            self.source.ask(request)

    def _look(self, on_look: Callable[[], None]) -> None:
        now = time.monotonic()
        if now - self._looked < CHECK_EVERY_S and self.events:
            return
        self._looked = now
        change = self._watch.check_file(self.fleet.source.clock.now_ns())
        if change is not None:
            self.interventions += 1
            self.fleet.tell(change)
        on_look()


def run_session(session: Session, on_look: Callable[[], None] = lambda: None) -> None:
    """Run a session in a loop of its own; Ctrl-C and SIGTERM end it cleanly. Raises as ``Session.run``."""

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, session.stop)
        await session.run(on_look)

    asyncio.run(serve())


def in_folder(config: Config, folder: Path) -> Config:
    """The configuration with everything written below ``folder``."""
    app = config.app.model_copy(
        update={"data_dir": folder, "log_dir": folder / "journals", "ledger_dir": folder / "ledgers"}
    )
    logging = config.logging.model_copy(update={"json_dir": folder})
    moved = config.model_copy(update={"app": app, "logging": logging})
    moved._root = config.root
    return moved


def written(folder: Path) -> list[Path]:
    """The journals and ledgers of a session, in a fixed order."""
    return sorted(path for path in folder.rglob("*.ndjson*") if path.name != APP_LOG)


def fingerprint(folder: Path) -> str:
    """SHA-256 over names and contents of everything the session wrote, app.ndjson aside."""
    digest = hashlib.sha256()
    for path in written(folder):
        digest.update(f"{path.relative_to(folder)}\0".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
