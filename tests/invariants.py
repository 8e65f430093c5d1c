"""What must hold of everything a fleet wrote, whatever was killed on the way: read from the files with json alone.

``violations(folder)`` lists every breach in words. ``settled`` says that the fleet came to rest, so that nothing
may still be under way; without it only what must hold at every instant is looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from core.topics import FLEET, TABLE, Delivery

Plain = dict[str, Any]
Entry = tuple[int, int]
DAEMONS: Final = ("strategy_runner", "risk_engine", "paper_trader")
GUARD: Final = "KillSwitchEvent"
_HASH: Final = b',"hash":"'


def parsed(line: bytes | str) -> Plain:
    """One line; numbers with a fraction are exact decimals."""
    plain: Plain = json.loads(line, parse_float=Decimal)
    return plain


def journal_files(folder: Path, stream: str) -> list[Path]:
    """The plain files of a stream in the order of writing."""
    rotated = [p for p in folder.glob(f"{stream}.*.ndjson") if p.name.removeprefix(f"{stream}.")[:8].isdigit()]
    active = folder / f"{stream}.ndjson"
    return [*sorted(rotated), *([active] if active.exists() else [])]


def journal(folder: Path, stream: str) -> list[Plain]:
    """Every line of a stream, over rotated files."""
    return [parsed(line) for path in journal_files(folder, stream) for line in path.read_bytes().splitlines()]


def streams_of(folder: Path, prefix: str) -> list[str]:
    """The streams in a folder whose names start so."""
    names = {path.name.removesuffix(".ndjson") for path in folder.glob(f"{prefix}*.ndjson")}
    return sorted({n[:-9] if n[-8:].isdigit() and n[-9] == "." else n for n in names})


@dataclass
class Books:
    """The ledgers and journals of one run, and the breaches found so far."""

    journals: Path
    settled: bool
    ledgers: dict[str, list[Plain]]
    found: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        """Note a breach."""
        self.found.append(text)

    def events(self, daemon: str, topic: str) -> Iterator[tuple[Entry, Plain]]:
        """What a daemon said on a topic (``fills.new`` or a prefix ending in a dot), with its place."""
        for transaction in self.ledgers.get(daemon, ()):
            for index, said in enumerate(transaction["events"]):
                if said["topic"] == topic or (topic.endswith(".") and said["topic"].startswith(topic)):
                    yield (transaction["seq"], index), said["event"]


def violations(folder: Path, *, settled: bool = True) -> list[str]:
    """Every breach in the ledgers and journals below ``folder``; empty when all is well."""
    books = Books(folder / "journals", settled, {})
    for name in DAEMONS:
        path = folder / "ledgers" / f"{name}.ndjson"
        books.ledgers[name] = list(_chain(path, books)) if path.exists() else []
    for check in (_deliveries, _decisions, _orders, _fills, _positions, _halts, _projections, _market_data):
        check(books)
    return books.found


def assert_hold(folder: Path, *, settled: bool = True) -> None:
    """Raise AssertionError with the breaches, the first ones in words."""
    found = violations(folder, settled=settled)
    assert not found, f"{len(found)} invariants broken in {folder}:\n" + "\n".join(found[:20])


def waiting(folder: Path) -> list[str]:
    """Ledger messages that a daemon has yet to process: empty once the fleet is at rest."""
    books = Books(folder / "journals", True, {})
    for name in DAEMONS:
        path = folder / "ledgers" / f"{name}.ndjson"
        books.ledgers[name] = list(_chain(path, books)) if path.exists() else []
    _deliveries(books)
    return books.found


def _chain(path: Path, books: Books) -> Iterator[Plain]:
    """The transactions of a ledger; each carries its own hash and the one before."""
    prev = hashlib.sha256(f"njord ledger {path.stem}".encode()).hexdigest()
    data = path.read_bytes()
    if data and not data.endswith(b"\n") and books.settled:
        books.fault(f"{path.name}: torn last line")
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        body, mark, tail = line.rpartition(_HASH)
        digest = hashlib.sha256(body + b"}").hexdigest()
        plain = parsed(line)
        if not mark or tail != digest.encode() + b'"}':
            books.fault(f"{path.name}:{number}: does not match its hash")
        if plain["prev"] != prev or plain["seq"] != number:
            books.fault(f"{path.name}:{number}: breaks the chain")
        prev = digest
        yield plain


def _deliveries(books: Books) -> None:
    """Each ledger message is processed once, in order, as it was said, by every daemon that consumes its topic."""
    for producer in FLEET:
        rows = {row.template: row for row in TABLE if row.producer == producer and row.delivery is Delivery.LEDGER}
        for consumer in sorted({name for row in rows.values() for name in row.consumers} & set(books.ledgers)):
            wanted = {name for name, row in rows.items() if consumer in row.consumers}
            said = {
                (t["seq"], index): each["event"]
                for t in books.ledgers[producer]
                for index, each in enumerate(t["events"])
                if each["topic"] in wanted
            }
            _compare_delivery(books, producer, consumer, said)


def _compare_delivery(books: Books, producer: str, consumer: str, said: dict[Entry, Plain]) -> None:
    taken: dict[Entry, Plain] = {}
    for transaction in books.ledgers[consumer]:
        cause = transaction["cause"]
        if cause["stream"] != producer or "event" not in cause:
            continue
        seq, _, index = cause["id"].partition("-")
        place = int(seq), int(index)
        if taken and place <= next(reversed(taken)):
            books.fault(f"{consumer} processed {producer} {cause['id']} twice or out of order")
        taken[place] = cause["event"]
    for place, event in taken.items():
        if place not in said:
            books.fault(f"{consumer} processed {producer} {place}, which that ledger does not have")
        elif said[place] != event:
            books.fault(f"{consumer} processed another {producer} {place} than was said")
    last = max(taken, default=(0, 0))
    for place in said:
        if place not in taken and (books.settled or place < last):
            books.fault(f"{consumer} never processed {producer} {place}")


def _decisions(books: Books) -> None:
    intents = _by_id(books, books.events("strategy_runner", "strat.intent"), "intent_id")
    decisions = _by_id(books, books.events("risk_engine", "risk.decisions"), "intent_id")
    for each in decisions:
        if each not in intents:
            books.fault(f"a decision on intent {each}, which nobody had")
    for each in intents:
        if books.settled and each not in decisions:
            books.fault(f"no decision on intent {each}")
    ids = Counter(decision["decision_id"] for decision in decisions.values())
    for each, count in ids.items():
        if count > 1:
            books.fault(f"decision id {each} {count} times")


def _orders(books: Books) -> None:
    """Allowed if and only if there is one order, which is what was asked for and carries its decision."""
    intents = {event["intent_id"]: event for _, event in books.events("strategy_runner", "strat.intent")}
    orders = _by_id(books, books.events("risk_engine", "orders.accepted"), "intent_id")
    decisions = {event["intent_id"]: event for _, event in books.events("risk_engine", "risk.decisions")}
    for each, decision in decisions.items():
        if decision["allowed"] != (each in orders):
            books.fault(f"intent {each}: allowed is {decision['allowed']}, orders {int(each in orders)}")
    for each, order in orders.items():
        if order["decision"] != decisions.get(each):
            books.fault(f"order {order['order_id']} carries another decision than was taken on intent {each}")
        intent = intents.get(each, {})
        differing = [
            name
            for name in ("symbol", "side", "type", "qty", "limit_price", "strategy_id")
            if order[name] != intent.get(name)
        ]
        if differing:
            books.fault(f"order {order['order_id']} differs from its intent in {', '.join(differing)}")


def _fills(books: Books) -> None:
    """Each fill belongs to an order, is counted once, and an order is never filled beyond its quantity."""
    orders = {event["order_id"]: event for _, event in books.events("risk_engine", "orders.accepted")}
    updates: dict[str, Plain] = {}
    for _, update in books.events("paper_trader", "orders.updates"):
        before = updates.get(update["order_id"])
        if before is not None and before["status"] in ("filled", "canceled", "rejected"):
            books.fault(f"order {update['order_id']} changed after it was {before['status']}")
        updates[update["order_id"]] = update
    filled: defaultdict[str, Decimal] = defaultdict(Decimal)
    for fill in _by_id(books, books.events("paper_trader", "fills.new"), "fill_id").values():
        order = orders.get(fill["order_id"])
        if order is None:
            books.fault(f"fill {fill['fill_id']} of order {fill['order_id']}, which was never accepted")
            continue
        filled[fill["order_id"]] += fill["qty"]
        if (fill["symbol"], fill["side"], fill["intent_id"]) != (order["symbol"], order["side"], order["intent_id"]):
            books.fault(f"fill {fill['fill_id']} does not fit its order {order['order_id']}")
        limit, sign = order["limit_price"], 1 if order["side"] == "buy" else -1
        if order["type"] == "limit" and sign * fill["price"] > sign * limit:
            books.fault(f"fill {fill['fill_id']} at {fill['price']} is worse than the limit {limit}")
    for each, order in orders.items():
        if filled[each] > order["qty"]:
            books.fault(f"order {each}: filled {filled[each]} of {order['qty']}")
        last = updates.get(each)
        if last is None:
            if books.settled:
                books.fault(f"order {each} never reached the venue")
        elif last["filled_qty"] != filled[each] or (last["status"] == "filled") != (filled[each] == order["qty"]):
            books.fault(f"order {each}: fills add up to {filled[each]}, its last update says {last['filled_qty']}")


def _positions(books: Books) -> None:
    """After every fill the position snapshot is the sum of the fills so far, fees too."""
    held: defaultdict[str, Decimal] = defaultdict(Decimal)
    fees: defaultdict[str, Decimal] = defaultdict(Decimal)
    for transaction in books.ledgers["paper_trader"]:
        fresh = 0
        for said in transaction["events"]:
            event = said["event"]
            if said["topic"] == "fills.new":
                held[event["symbol"]] += event["qty"] if event["side"] == "buy" else -event["qty"]
                fees[event["symbol"]] += event["fee"]
                fresh += 1
            elif said["topic"] == "positions.snapshot":
                fresh -= 1
                symbol = event["symbol"]
                if (event["qty"], event["fees_paid"]) != (held[symbol], fees[symbol]):
                    books.fault(
                        f"position in {symbol} at transaction {transaction['seq']}: expected {held[symbol]} with fees "
                        f"{fees[symbol]}, got {event['qty']} with {event['fees_paid']}"
                    )
        if fresh:
            books.fault(f"transaction {transaction['seq']}: {fresh} more fills than position snapshots")


def _halts(books: Books) -> None:
    """While the kill switch is tripped every intent is denied as halted and nothing is filled."""
    for daemon, topic in (("risk_engine", "risk.decisions"), ("paper_trader", "fills.new")):
        halted = False
        for transaction in books.ledgers[daemon]:
            cause = transaction["cause"]
            if cause["id"] == GUARD:
                halted = cause["event"]["tripped"]
            for said in transaction["events"]:
                event = said["event"]
                if halted and said["topic"] == topic and event.get("reason") != "halted":
                    books.fault(f"{daemon} transaction {transaction['seq']}: {topic} while halted")
                if not halted and event.get("reason") == "halted" and topic == "risk.decisions":
                    books.fault(f"{daemon} transaction {transaction['seq']}: denied as halted without a halt")


def _projections(books: Books) -> None:
    """The journals of ledger events hold exactly what the ledgers say, in the same order."""
    rows = {row.template: row for row in TABLE if row.producer in DAEMONS and row.journal}
    expected: defaultdict[str, list[Plain]] = defaultdict(list)
    for transactions in books.ledgers.values():
        for transaction in transactions:
            for said in transaction["events"]:
                row = rows.get(said["topic"])
                if row is not None and row.journal is not None:
                    symbol = said["event"].get("symbol", "").replace("/", "")
                    expected[row.journal.format(symbol=symbol)].append(said["event"])
    prefixes = sorted({str(row.journal).partition("{")[0].rstrip(".") for row in rows.values()})
    present = {stream for prefix in prefixes for stream in streams_of(books.journals, prefix)}
    for stream in sorted(present | set(expected)):
        got = journal(books.journals, stream)
        if got != expected[stream]:
            books.fault(f"journal {stream}: {len(got)} lines differ from the ledger's {len(expected[stream])}")


def _market_data(books: Books) -> None:
    """Trades by id without a hole or repeat, books by update id and never crossed, bars once and without a hole."""
    for stream in streams_of(books.journals, "md.trades."):
        ids = [int(trade["trade_id"]) for trade in journal(books.journals, stream)]
        if ids != list(range(ids[0], ids[0] + len(ids))):
            books.fault(f"{stream}: trade ids have holes or repeats")
    for stream in streams_of(books.journals, "md.book."):
        last = 0
        for book in journal(books.journals, stream):
            if book["last_id"] <= last:
                books.fault(f"{stream}: update {book['last_id']} after {last}")
            last = book["last_id"]
            if book["bids"] and book["asks"] and book["bids"][0][0] >= book["asks"][0][0]:
                books.fault(f"{stream}: crossed at update {last}")
    for stream in streams_of(books.journals, "ohlcv."):
        bars = journal(books.journals, stream)
        if any(before["ts_close"] != after["ts_open"] for before, after in pairwise(bars)):
            books.fault(f"{stream}: bars overlap or have holes")


def _by_id(books: Books, events: Iterable[tuple[Entry, Plain]], name: str) -> dict[str, Plain]:
    found: dict[str, Plain] = {}
    for place, event in events:
        if event[name] in found:
            books.fault(f"{name} {event[name]} again at {place}")
        found[event[name]] = event
    return found
