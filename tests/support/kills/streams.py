"""Whether the streams in Redis are what the ledgers say: nothing else, in order, without a hole, trimmed only behind.

Read with the plain client and json, with none of the code that wrote them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

from redis import Redis

from core.daemons import LEDGERED
from core.topics import FLEET, TABLE, Delivery
from tests.support.invariants import parsed

Plain = dict[str, Any]
Entry = tuple[int, int]
PREFIX: Final = "njord"
_META: Final = ("_producer", "_seq")
_ROWS: Final = {row.template: row for row in TABLE if row.delivery is Delivery.LEDGER}


def transactions(folder: Path, daemon: str) -> list[Plain]:
    """The whole lines of a ledger."""
    path = folder / "ledgers" / f"{daemon}.ndjson"
    return [parsed(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


def entries_of(ledger: list[Plain]) -> dict[Entry, Plain]:
    """What a ledger has for the daemon's stream, by entry."""
    return {
        (transaction["seq"], index): event
        for transaction in ledger
        for index, event in enumerate(transaction["events"])
        if event["topic"] in _ROWS
    }


def taken_from(producer: str, ledger: list[Plain]) -> set[Entry]:
    """Which entries of a producer a ledger has as causes."""
    causes = (transaction["cause"] for transaction in ledger)
    return {place(cause["id"]) for cause in causes if cause["stream"] == producer and "topic" in cause}


def place(text: str) -> Entry:
    """``17-2`` as a pair of numbers."""
    transaction, _, index = text.partition("-")
    return int(transaction), int(index)


def stream_faults(url: str, folder: Path) -> list[str]:
    """Every way in which the streams differ from the ledgers below ``folder``, in words."""
    ledgers = {name: transactions(folder, name) for name in LEDGERED}
    with Redis.from_url(url) as client:
        streams = {name: _entries(client, f"{PREFIX}:ledger:{name}") for name in LEDGERED}
    return [fault for name in LEDGERED for fault in _differences(name, streams[name], ledgers)]


def _entries(client: Redis, key: str) -> dict[Entry, Mapping[bytes, bytes]]:
    entries = cast(list[tuple[bytes, Mapping[bytes, bytes]]], client.xrange(key))
    return {place(number.decode()): fields for number, fields in entries}


def _differences(
    name: str, stream: Mapping[Entry, Mapping[bytes, bytes]], ledgers: Mapping[str, list[Plain]]
) -> list[str]:
    recorded = entries_of(ledgers[name])
    faults = [f"stream {name} has {entry}, which the ledger does not" for entry in stream if entry not in recorded]
    for entry, fields in stream.items():
        if entry in recorded and _event(fields) != (recorded[entry]["topic"], recorded[entry]["event"]):
            faults.append(f"stream {name} {entry} is not what the ledger says")
    missing = [entry for entry in recorded if entry not in stream]
    first = min(stream, default=None)
    if first is None and recorded:
        faults.append(f"stream {name} is empty, the ledger has {len(recorded)} entries")
    faults += [f"stream {name} has a hole at {entry}" for entry in missing if first is not None and entry > first]
    trimmed = [entry for entry in missing if first is not None and entry < first]
    for consumer in FLEET:
        taken = taken_from(name, ledgers.get(consumer, []))
        needed = [entry for entry in trimmed if consumer in _ROWS[recorded[entry]["topic"]].consumers]
        faults += [f"stream {name} lost {entry} before {consumer} had it" for entry in needed if entry not in taken]
    return faults


def _event(fields: Mapping[bytes, bytes]) -> tuple[str, Plain]:
    event: Plain = json.loads(fields[b"e"], parse_float=Decimal)
    return fields[b"t"].decode(), {key: value for key, value in event.items() if key not in _META}
