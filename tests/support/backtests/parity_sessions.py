"""Small recorded sessions for the tests of parity: a busy fleet on a feed, its configuration changed in one place."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from apps.fleet.session import Session
from apps.md_ingest.source import MarketSource, open_offline
from core.component import Message
from core.config import Config, load_config
from core.contracts import BookEvent, Contract, FeedStatus, RiskDecision, TradeEvent
from core.market.ingest import MarketDataIngest
from core.market.sequence import BackfillDone, BackfillRequest
from core.market.synthetic import SyntheticMarket
from tests.support.fleet_config import busy_installation, config_in

FEED = "synthetic:42:2"


@dataclass(frozen=True)
class Recorded:
    """A finished session."""

    folder: Path
    config: Config
    session: Session


def recorded(
    into: Path,
    feed: str | Iterable[Contract] = FEED,
    observer: Callable[[Sequence[Message]], None] | None = None,
    **changed: Any,
) -> Recorded:
    """A session below ``into``; ``changed`` are values by ``section__key``."""
    config = configured(into, **changed)
    source = open_offline(feed, config) if isinstance(feed, str) else listed(list(feed), config)
    session = Session(config, source, observer, durable=False)
    asyncio.run(session.run())
    return Recorded(into / "run", config, session)


def configured(into: Path, **changed: Any) -> Config:
    """The busy installation below ``into`` with some values changed; ``taker_fee`` and ``params`` are for all."""
    config = config_in(into / "run", busy_installation(into / "root"))
    fee, params = changed.pop("taker_fee", None), changed.pop("params", {})
    values = config.model_dump(by_alias=True)
    for path, value in changed.items():
        section, _, key = path.partition("__")
        if key:
            values[section][key] = value
        else:
            values[section] = value
    for row in values["instruments"].values():
        row["taker_fee"] = row["taker_fee"] if fee is None else fee
    for entry in values["strategies"]:
        entry["params"] = {**entry["params"], **params}
    changed_config = Config.model_validate(values)
    changed_config._root = config.root
    return changed_config


class ListedFeed:
    """Gives the events it was given; has no others."""

    name = "listed"

    def __init__(self, events: Sequence[Contract], symbols: tuple[str, ...]) -> None:
        self.symbols = symbols
        self._events = events
        self._answers: list[BackfillDone] = []

    async def stream(self) -> AsyncGenerator[Contract, None]:
        for event in self._events:
            yield event

    def backfill(self, request: BackfillRequest) -> None:
        raise AssertionError(request)

    def counters(self) -> dict[str, int]:
        return {}

    async def aclose(self) -> None:
        return


def listed(events: Sequence[Contract], config: Config) -> MarketSource:
    """A source of these raw events, which nobody can be asked for."""
    instruments = config.instruments_table()
    return MarketSource(ListedFeed(events, tuple(instruments)), MarketDataIngest(instruments, backfill=False))


def ledgers_of(folder: Path) -> dict[str, bytes]:
    """The ledgers below a folder."""
    return {path.name: path.read_bytes() for path in sorted((folder / "ledgers").glob("*.ndjson"))}


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder with the time of its last change."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def copied(run: Recorded, into: Path) -> Path:
    """A copy of a session's folder."""
    shutil.copytree(run.folder, into)
    return into


def nervous(*entries: tuple[str, str, list[str]], every: int = 11) -> list[dict[str, Any]]:
    """Entries of strategies that answer all they hear of, by id, symbol and topics."""
    return [
        {
            "id": name,
            "class": "tests.support.backtests.parity_strategies.Nervous",
            "symbols": [symbol],
            "events": events,
            "params": {"every": every, "qty": 0.01 if symbol.startswith("BTC") else 0.2},
        }
        for name, symbol, events in entries
    ]


def pulling_the_switch(switch: Path, after: int, denials: int) -> Callable[[Sequence[Message]], None]:
    """An observer that trips the kill switch after so many orders, and clears it after so many denials."""
    seen: Counter[str] = Counter()

    def observe(messages: Sequence[Message]) -> None:
        for message in messages:
            if isinstance(message.event, RiskDecision):
                seen["allowed" if message.event.allowed else message.event.reason] += 1
        if seen["allowed"] >= after and not seen["halted"]:
            switch.touch()
        elif seen["halted"] >= denials:
            switch.unlink(missing_ok=True)

    return observe


def late_and_lost(minutes: int, config_root: Path) -> Iterator[Contract]:
    """A market as a bad line gives it: some trades come late, behind later ones, and some never."""
    instruments = configured(config_root).instruments_table()
    market = SyntheticMarket(3, instruments, ("BTC/USDT", "ETH/USDT"))
    draw = Random(5)
    events = list(market.events(minutes * 60 * 1_000_000_000))
    for place in range(len(events) - 40):
        if isinstance(events[place], TradeEvent) and draw.random() < 0.03:
            events.insert(place + draw.randrange(2, 40), events.pop(place))
    kept = [e for e in events if not (isinstance(e, TradeEvent) and draw.random() < 0.002)]
    receipt = 0
    for event in kept:
        assert isinstance(event, TradeEvent | BookEvent)
        receipt = max(receipt + 1, event.ts_recv_ns)
        yield replace(event, ts_recv_ns=receipt)
    for symbol in ("BTC/USDT", "ETH/USDT"):
        yield FeedStatus(symbol, "synthetic", "ended", kept[-1].ts_ns, "the recording ended")


def shipped(into: Path, root: Path, feed: str) -> Recorded:
    """A session of the installation as it is shipped."""
    config = config_in(into / "run", root)
    assert load_config(root).strategies == config.strategies
    session = Session(config, open_offline(feed, config), durable=False)
    asyncio.run(session.run())
    return Recorded(into / "run", config, session)
