"""Market data in one process over a real server: parse, deduplicate, journal, publish; every line of it verified.

The floor decodes the same lines with msgspec and publishes the same bytes with redis-py in pipelines of 100: no
checks, no order, no journal.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
from redis.asyncio import Redis

from apps.md_ingest.source import open_offline
from benchmarks.result import Budget, Figure, Result, verify
from benchmarks.timing import settled
from benchmarks.workload import SYMBOL, Workload, bench_config, trade_capture, unpacked_capture
from core import codec, topics
from core.bus import RedisBus
from core.config import Config
from core.contracts import Contract, TradeEvent
from core.service.daemon import Service
from core.service.feed_source import Source
from core.service.host import ComponentHost
from core.service.launch import open_journals
from core.service.settings import ServiceSettings

BARE_BATCH: Final = 100
TRADES_PER_S: Final = Budget("at least", 50_000)
_NEVER_S: Final = 3_600.0


class BareTrade(msgspec.Struct):
    """The fields of a trade message that the fleet uses."""

    s: str
    t: int
    p: float
    q: float
    T: int
    m: bool


class BareMessage(msgspec.Struct):
    """A combined stream's envelope."""

    data: BareTrade


@dataclass(frozen=True, slots=True)
class _Case:
    """One capture and what must come out of it: ``sent`` as (topic, wire bytes), ``journal`` of the trades."""

    capture: Path
    channels: tuple[str, ...]
    sent: Sequence[tuple[str, bytes]]
    journal: bytes
    trades: int


def run(work: Workload) -> Result:
    """Trades alone, which the budget is about, and the whole capture with its books where it is at hand."""
    config = bench_config(work.folder)
    capture = trade_capture(work, config, work.size(60_000, 20_000, 500))
    rounds = work.size(3, 2, 1)
    case = _case(config, capture.path, ("trades",))
    verify("trades that leave the ingest", capture.trades, case.trades)
    lines = capture.path.read_bytes().splitlines()
    ours, bare = asyncio.run(_both(work, case, lines, msgspec.json.Decoder(BareMessage, strict=False), rounds))
    figures = [
        Figure("trades", capture.trades / ours, "trades/s", capture.trades / bare, TRADES_PER_S,
               f"{capture.lines - capture.trades:,} of {capture.lines:,} lines come twice"),
    ]  # fmt: skip
    done = f"{capture.trades:,} {capture.origin} trades journaled byte for byte and published, {rounds} rounds"
    if (full_capture := unpacked_capture(work, config)) is not None:
        case = _case(config, full_capture[0], ("trades", "book"))
        lines = full_capture[0].read_bytes().splitlines()
        ours, bare = asyncio.run(_both(work, case, lines, msgspec.json.Decoder(), rounds))
        contents = f"{case.trades:,} trades and {len(case.sent) - case.trades:,} books and ticks out of it"
        figures.append(Figure("whole capture", len(lines) / ours, "messages/s", len(lines) / bare, None, contents))
    return Result("ingest", figures, done)


def _case(config: Config, capture: Path, channels: tuple[str, ...]) -> _Case:
    """The output of the component alone on the capture."""
    source = open_offline(str(capture), config, (SYMBOL,), channels=channels)
    assert source.offline is not None
    sent: list[tuple[str, bytes]] = []
    journal: list[bytes] = []
    numbers: dict[str, int] = {}
    for raw in source.offline.events():
        for event in source.ingest.on_event(raw):
            topic = topics.topic_of(event)
            numbers[topic] = number = numbers.get(topic, 0) + 1
            sent.append((topic, codec.encode_message(event, codec.Meta(source.ingest.name, number))))
            if isinstance(event, TradeEvent):
                journal.append(codec.encode(event) + b"\n")
    return _Case(capture, channels, sent, b"".join(journal), len(journal))


async def _both(
    work: Workload, case: _Case, lines: Sequence[bytes], decoder: msgspec.json.Decoder[object], rounds: int
) -> tuple[float, float]:
    """The median seconds of ours and of the floor, taking turns."""
    ours: list[float] = []
    bare: list[float] = []
    client = Redis.from_url(work.server_url)
    try:
        for number in range(rounds):
            ours.append(await _ours(work, case, work.folder / f"ingest-{number}", client))
            bare.append(await _bare(client, case, lines, decoder))
    finally:
        await client.aclose()
    return median(ours), median(bare)


async def _ours(work: Workload, case: _Case, folder: Path, client: Redis) -> float:
    """The daemon's own service on the capture, from the first line read until it has ended."""
    config = bench_config(folder)
    source = open_offline(str(case.capture), config, (SYMBOL,), channels=case.channels)
    host = ComponentHost(source.ingest, open_journals(config))
    bus = RedisBus(work.server_url)
    started: list[int] = []

    async def noted() -> AsyncIterator[Contract]:
        started.append(time.perf_counter_ns())
        async for event in source.feed.stream():
            yield event

    service = Service(host, bus, ServiceSettings(heartbeat_s=_NEVER_S), source=Source(noted(), source.ask))
    await client.config_resetstat()
    with settled():
        await service.run()
        taken = (time.perf_counter_ns() - started[0]) / 1e9
    stats = await client.info("commandstats")
    verify("messages published", len(case.sent), stats["cmdstat_publish"]["calls"])
    journals = sorted((folder / "journals").glob("md.trades.*.ndjson*"))
    verify("the trades' journal", case.journal, b"".join(path.read_bytes() for path in journals))
    shutil.rmtree(folder)
    return taken


async def _bare(client: Redis, case: _Case, lines: Sequence[bytes], decoder: msgspec.json.Decoder[object]) -> float:
    """Decode every line, publish every payload."""
    await client.config_resetstat()
    with settled():
        started = time.perf_counter_ns()
        for line in lines:
            decoder.decode(line[line.index(b"{") :])
        for at in range(0, len(case.sent), BARE_BATCH):
            pipeline = client.pipeline(transaction=False)
            for topic, payload in case.sent[at : at + BARE_BATCH]:
                pipeline.publish(topic, payload)
            await pipeline.execute()
        taken = (time.perf_counter_ns() - started) / 1e9
    stats = await client.info("commandstats")
    verify("messages published by the floor", len(case.sent), stats["cmdstat_publish"]["calls"])
    return taken
