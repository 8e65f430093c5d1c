"""What was under way when a process was killed, reckoned afterwards from how long each ledger was at that instant.

Reading a few file sizes takes microseconds, so that looking does not move the kill away from what it is to hit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from core.daemons import LEDGERED
from tests.support.invariants import parsed

Sizes = Mapping[str, int]  # bytes of each daemon's ledger


class Passage(NamedTuple):
    """One message from the end of its line in one ledger to the end of the line that processed it in another."""

    producer: str
    recorded_at: int
    consumer: str
    taken_at: int


def sizes_now(ledgers: Path) -> dict[str, int]:
    """How long each ledger is at this instant."""
    return {name: _size(ledgers / f"{name}.ndjson") for name in LEDGERED}


def unsettled(deliveries: list[Passage], sizes: Sizes) -> int:
    """How many messages were said and not yet processed."""
    return sum(
        sizes[passage.producer] >= passage.recorded_at and sizes[passage.consumer] < passage.taken_at
        for passage in deliveries
    )


def deliveries_of(ledgers: Path) -> list[Passage]:
    """Every ledger message of a finished run to each of its consumers."""
    ends: dict[tuple[str, str], int] = {}
    passages: list[Passage] = []
    lines = {name: list(_lines(ledgers / f"{name}.ndjson")) for name in LEDGERED}
    for name, ledger in lines.items():
        for end, line in ledger:
            for index in range(len(line["events"])):
                ends[name, f"{line['seq']}-{index}"] = end
    for consumer, ledger in lines.items():
        for end, line in ledger:
            cause = line["cause"]
            start = ends.get((cause["stream"], cause["id"]))
            if start is not None:
                passages.append(Passage(cause["stream"], start, consumer, end))
    return passages


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    end = 0
    for line in path.read_bytes().split(b"\n")[:-1]:
        end += len(line) + 1
        yield end, parsed(line)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
