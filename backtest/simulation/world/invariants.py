"""The invariants of everything a fleet wrote, whatever was killed on the way, read from its files.

``violations(folder)`` lists every breach in words. ``settled`` says that the fleet came to rest, so that nothing
may still be under way; without it only what must hold at every instant is looked at.
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Final

from backtest.simulation.world.rules import Chain, FleetRules, Plain, parsed
from core.daemons import LEDGERED
from core.topics import TABLE

__all__ = ["assert_hold", "journal", "journal_files", "parsed", "streams_of", "violations", "waiting"]


_ROTATED: Final = re.compile(r"(.+?)\.(?P<day>\d{8})(?:\.(?P<part>\d+))?\.ndjson")


def journal_files(folder: Path, stream: str) -> list[Path]:
    """The plain files of a stream in the order of writing."""
    rotated = [(match["day"], int(match["part"] or 0), path) for path, match in _rotated(folder) if match[1] == stream]
    active = folder / f"{stream}.ndjson"
    return [*(path for _, _, path in sorted(rotated)), *([active] if active.exists() else [])]


def _rotated(folder: Path) -> list[tuple[Path, re.Match[str]]]:
    names = [(path, _ROTATED.fullmatch(path.name)) for path in folder.glob("*.ndjson")]
    return [(path, match) for path, match in names if match is not None]


def journal(folder: Path, stream: str) -> list[Plain]:
    """Every line of a stream, over rotated files."""
    return [parsed(line) for path in journal_files(folder, stream) for line in path.read_bytes().splitlines()]


def streams_of(folder: Path, prefix: str) -> list[str]:
    """The streams in a folder whose names start so."""
    rotated = {path: match[1] for path, match in _rotated(folder)}
    names = {rotated.get(path, path.name.removesuffix(".ndjson")) for path in folder.glob(f"{prefix}*.ndjson")}
    return sorted(names)


def violations(folder: Path, *, settled: bool = True) -> list[str]:
    """Every breach in the ledgers and journals below ``folder``; empty when all is well."""
    rules = FleetRules()
    ledgers = _read(folder, rules, settled=settled)
    rules.take([(name, transaction) for name in LEDGERED for transaction in ledgers[name]])
    if settled:
        rules.finish()
    check_journals(folder / "journals", rules, ledgers)
    return rules.violations


def assert_hold(folder: Path, *, settled: bool = True) -> None:
    """Raise AssertionError with the breaches, the first ones in words."""
    breaches = violations(folder, settled=settled)
    if breaches:
        raise AssertionError(f"{len(breaches)} invariants broken in {folder}:\n" + "\n".join(breaches[:20]))


def waiting(folder: Path) -> list[str]:
    """Ledger messages that a daemon has yet to process: empty once the fleet is at rest."""
    rules = FleetRules()
    ledgers = _read(folder, rules, settled=True)
    rules.take([(name, transaction) for name in LEDGERED for transaction in ledgers[name]])
    return list(rules.waiting())


def _read(folder: Path, rules: FleetRules, *, settled: bool) -> dict[str, list[Plain]]:
    ledgers: dict[str, list[Plain]] = {}
    for name in LEDGERED:
        path = folder / "ledgers" / f"{name}.ndjson"
        data = path.read_bytes() if path.exists() else b""
        if data and not data.endswith(b"\n") and settled:
            rules.fault(f"{path.name}: torn last line")
        ledgers[name] = list(Chain(name, rules.fault).read(data.split(b"\n")[:-1]))
    return ledgers


def check_journals(journals: Path, rules: FleetRules, ledgers: dict[str, list[Plain]]) -> None:
    """Journals of ledger events are what the ledgers say; market data has neither holes nor repeats."""
    _check_projections(journals, rules, ledgers)
    _check_market_data(journals, rules)


def _check_projections(journals: Path, rules: FleetRules, ledgers: dict[str, list[Plain]]) -> None:
    """The journals of ledger events hold exactly what the ledgers say, in the same order."""
    rows = {row.template: row for row in TABLE if set(row.producers) & set(LEDGERED) and row.journal}
    expected: defaultdict[str, list[Plain]] = defaultdict(list)
    for producer, transactions in ledgers.items():
        for transaction in transactions:
            for message in transaction["events"]:
                row = rows.get(message["topic"])
                if row is not None and row.journal is not None:
                    symbol = message["event"].get("symbol", "").replace("/", "")
                    stream = row.journal.format(symbol=symbol)
                    stream = stream if producer == row.producers[0] else f"{stream}.{producer}"
                    expected[stream].append(message["event"])
    prefixes = sorted({str(row.journal).partition("{")[0].rstrip(".") for row in rows.values()})
    present = {stream for prefix in prefixes for stream in streams_of(journals, prefix)}
    for stream in sorted(present | set(expected)):
        got = journal(journals, stream)
        if got != expected[stream]:
            rules.fault(f"journal {stream}: {len(got)} lines differ from the ledger's {len(expected[stream])}")


def _check_market_data(journals: Path, rules: FleetRules) -> None:
    """Trades by id without a hole or repeat, books by update id and never crossed, bars once and without a hole."""
    for stream in streams_of(journals, "md.trades."):
        ids = [int(trade["trade_id"]) for trade in journal(journals, stream)]
        if ids != list(range(ids[0], ids[0] + len(ids))):
            rules.fault(f"{stream}: trade ids have holes or repeats")
    for stream in streams_of(journals, "md.book."):
        last = 0
        for book in journal(journals, stream):
            if book["last_id"] <= last:
                rules.fault(f"{stream}: update {book['last_id']} after {last}")
            last = book["last_id"]
            if book["bids"] and book["asks"] and book["bids"][0][0] >= book["asks"][0][0]:
                rules.fault(f"{stream}: crossed at update {last}")
    for stream in streams_of(journals, "ohlcv."):
        bars = journal(journals, stream)
        if any(bar["ts_close"] != following["ts_open"] for bar, following in pairwise(bars)):
            rules.fault(f"{stream}: bars overlap or have holes")
