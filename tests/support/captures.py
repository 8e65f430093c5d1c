"""The recorded captures as a test sees them without any code of ours: parsed with json, shortened, broken on purpose.

What the system made of a capture is compared with what is read here, so nothing here may import it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

SYMBOLS: Final = ("BTC/USDT", "ETH/USDT")
NS_PER_S: Final = 1_000_000_000
TOP: Final = 20  # levels a side in a book event


class RawTrade(NamedTuple):
    """One trade as the venue sent it."""

    trade_id: str
    price: Decimal
    qty: Decimal
    side: str
    ts_ns: int


def recorded(folder: Path) -> dict[str, Path]:
    """The captures by symbol."""
    return {symbol: folder / f"binance_spot_{symbol.replace('/', '').lower()}_20240808.raw.gz" for symbol in SYMBOLS}


def feed_of(captures: dict[str, Path]) -> str:
    """What ``--feed`` takes to replay all of them at once."""
    return ",".join(str(path) for path in captures.values())


def lines_of(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of a capture as time of receipt and message; numbers in the message stay text."""
    with gzip.open(path, "rt") as file:
        for line in file:
            stamp, _, message = line.partition(" ")
            yield int(stamp), json.loads(message)


def trades_of(path: Path) -> list[RawTrade]:
    """Every trade of a capture in the order of the file."""
    trades = []
    for _, message in lines_of(path):
        data = message.get("data", message)
        if data.get("e") == "trade":
            side = "sell" if data["m"] else "buy"
            price, qty = Decimal(data["p"]), Decimal(data["q"])
            trades.append(RawTrade(str(data["t"]), price, qty, side, data["T"] * 1_000_000))
    return trades


def shortened(captures: dict[str, Path], into: Path, seconds: float) -> dict[str, Path]:
    """The first so many seconds, by the time of receipt of the first line, of every capture."""
    short = {symbol: into / path.name for symbol, path in captures.items()}
    starts = [next(lines_of(path))[0] for path in captures.values()]
    end = min(starts) + int(seconds * NS_PER_S)
    for symbol, path in captures.items():
        write_lines(short[symbol], (line for line in _raw_lines(path) if int(line.partition(b" ")[0]) <= end))
    return short


def _raw_lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") as file:
        yield from file


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Write a capture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.writelines(lines)


class PlainBook:
    """An order book in two dictionaries, sorted when looked at: slow and beyond doubt."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[Decimal, Decimal]] = {"b": {}, "a": {}}
        self.last_id = 0

    def take(self, bids: Iterable[list[str]], asks: Iterable[list[str]], last_id: int) -> None:
        """Set the quantities at these prices."""
        for side, levels in (("b", bids), ("a", asks)):
            for price, qty in levels:
                if Decimal(qty):
                    self.sides[side][Decimal(price)] = Decimal(qty)
                else:
                    self.sides[side].pop(Decimal(price), None)
        self.last_id = last_id

    def top(self) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        """The best levels of both sides, best first."""
        bids = sorted(self.sides["b"], reverse=True)[:TOP]
        asks = sorted(self.sides["a"])[:TOP]
        return [(p, self.sides["b"][p]) for p in bids], [(p, self.sides["a"][p]) for p in asks]

    def snapshot_line(self, receipt_ns: int) -> bytes:
        """The whole book as a capture holds the venue's answer to a request for it."""
        bids = [[str(p), str(self.sides["b"][p])] for p in sorted(self.sides["b"], reverse=True)]
        asks = [[str(p), str(self.sides["a"][p])] for p in sorted(self.sides["a"])]
        return b"%d %b\n" % (
            receipt_ns,
            json.dumps({"lastUpdateId": self.last_id, "bids": bids, "asks": asks}, separators=(",", ":")).encode(),
        )


def books_of(path: Path) -> Iterator[tuple[int, PlainBook]]:
    """The book after every update of a capture, by update id, from the first one after its snapshot."""
    book = PlainBook()
    early: list[dict[str, Any]] = []
    for _, message in lines_of(path):
        if "lastUpdateId" in message:
            book.take(message["bids"], message["asks"], message["lastUpdateId"])
            for diff in early:
                if diff["u"] > book.last_id:
                    book.take(diff["b"], diff["a"], diff["u"])
            yield book.last_id, book
        elif (data := message.get("data", {})).get("e") == "depthUpdate":
            if not book.last_id:
                early.append(data)
            elif data["u"] > book.last_id:
                book.take(data["b"], data["a"], data["u"])
                yield book.last_id, book


@dataclass(frozen=True)
class Break:
    """Where ``with_a_break`` cut: the last update before the hole, the one the new snapshot stands at."""

    before: int
    resynchronised: int


def with_a_break(path: Path, into: Path, lost: range, healed_at: int) -> Break:
    """Write a capture without some of its order book updates (counted from 0), and with a snapshot later on."""
    states = books_of(path)
    state = next(states)[1]
    out: list[bytes] = []
    ids: list[int] = []
    for line in _raw_lines(path):
        if b'"depthUpdate"' not in line:
            out.append(line)
            continue
        stamp, _, message = line.partition(b" ")
        number, last_id = len(ids), json.loads(message)["data"]["u"]
        ids.append(last_id)
        while state.last_id < last_id:
            state = next(states)[1]
        if number not in lost:
            out.append(line)
        if number == healed_at:
            out.append(state.snapshot_line(int(stamp)))
    write_lines(into, out)
    return Break(ids[lost.start - 1], ids[healed_at])
