"""The workload of the benchmarks: the recorded capture if it exists, otherwise a synthetic one in the same format."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from core.config import Config, load_config
from core.contracts import Contract, TradeEvent
from core.market.synthetic import SyntheticMarket

ROOT: Final = Path(__file__).resolve().parent.parent
SYMBOL: Final = "BTC/USDT"
CAPTURE: Final = "binance_spot_btcusdt_20240808.raw.gz"
REPEAT_EVERY: Final = 10  # every so many lines one comes twice, as after a reconnect


@dataclass(frozen=True, slots=True)
class Workload:
    """The folder and the amount of work. ``quick`` is enough to see that everything works, and roughly how fast."""

    folder: Path
    server_url: str
    unix_url: str
    quick: bool = False
    tiny: bool = False

    def size(self, full: int, quick: int, tiny: int) -> int:
        """The size of something in this run."""
        return tiny if self.tiny else quick if self.quick else full


@dataclass(frozen=True, slots=True)
class TradeCapture:
    """A raw capture of nothing but trades: ``lines`` in the file, ``trades`` different ones among them."""

    path: Path
    lines: int
    trades: int
    origin: str


def bench_config(folder: Path, **overrides: Any) -> Config:
    """The project's configuration with everything written below ``folder``."""
    folders = {"data_dir": folder, "log_dir": folder / "journals", "ledger_dir": folder / "ledgers"}
    values = {key: str(path) for key, path in folders.items()}
    mine: dict[str, Any] = {
        "app": values,
        "logging": {"json_dir": str(folder)},
        "risk": {"kill_switch_file": str(folder / "killswitch")},
    }
    return load_config(ROOT, environ={}, overrides={**mine, **overrides})


def recorded(name: str = CAPTURE) -> Path | None:
    """A recorded file, from ``NJORD_TEST_DATA`` or beside the checkout; None where there is none."""
    path = Path(os.environ.get("NJORD_TEST_DATA", ROOT.parent / "shared" / "data")) / name
    return path if path.exists() else None


def synthetic_trades(config: Config, count: int, seed: int = 7) -> list[TradeEvent]:
    """So many trades of a synthetic market."""
    events = SyntheticMarket(seed, config.instruments_table(), (SYMBOL,)).events()
    trades = (event for event in events if isinstance(event, TradeEvent))
    return [next(trades) for _ in range(count)]


def trade_capture(work: Workload, config: Config, count: int) -> TradeCapture:
    """Write a raw capture of ``count`` trades, ids without holes, with a repeated line now and then."""
    source = recorded()
    messages = _recorded_messages(source) if source is not None else _synthetic_messages(config, count)
    path = work.folder / "trades.raw"
    lines = 0
    with path.open("wb") as file:
        for number, message in zip(range(1, count + 1), messages, strict=False):
            line = b"%d %b\n" % (message["data"]["T"] * 1_000_000, msgspec.json.encode(message))
            file.write(line)
            lines += 1
            if number % REPEAT_EVERY == 0:
                file.write(line)
                lines += 1
    return TradeCapture(path, lines, count, "recorded" if source is not None else "synthetic")


def unpacked_capture(work: Workload, config: Config) -> tuple[Path, str] | None:
    """The recorded capture as a plain file, so that no time goes into gzip; None where there is none."""
    source = recorded()
    if source is None:
        return None
    path = work.folder / "capture.raw"
    with gzip.open(source, "rb") as packed, path.open("wb") as unpacked:
        for number, line in enumerate(packed, 1):
            unpacked.write(line)
            if number == work.size(10**9, 10**9, 6_000):
                break
    return path, "recorded"


def _recorded_messages(path: Path) -> Iterator[dict[str, Any]]:
    """The capture's trade messages, again and again, ids and times going on."""
    with gzip.open(path, "rb") as lines:
        messages = [msgspec.json.decode(line.partition(b" ")[2]) for line in lines if b'@trade"' in line]
    first, last = messages[0]["data"], messages[-1]["data"]
    ids, span = last["t"] - first["t"] + 1, last["T"] - first["T"] + 1
    while True:
        yield from messages
        for message in messages:
            data = message["data"]
            data["t"] += ids
            data["T"] += span
            data["E"] += span


def _synthetic_messages(config: Config, count: int) -> Iterator[dict[str, Any]]:
    for trade in synthetic_trades(config, count):
        ms = trade.ts // 1_000_000
        data = {
            "e": "trade", "E": ms, "s": "BTCUSDT", "t": int(trade.trade_id), "p": f"{trade.price:.8f}",
            "q": f"{trade.qty:.8f}", "T": ms, "m": trade.side == "sell", "M": True,
        }  # fmt: skip
        yield {"stream": "btcusdt@trade", "data": data}


class Materialised:
    """A feed whose events are all there before the clock starts."""

    def __init__(self, events: list[Contract], symbols: tuple[str, ...]) -> None:
        self.rejected = 0
        self.left_out: Counter[str] = Counter()
        self.name = f"{len(events)} prepared events"
        self.symbols = symbols
        self._events = events

    def events(self) -> Iterator[Contract]:
        """The events in order."""
        return iter(self._events)

    def checksum(self) -> str:
        """Not asked for here."""
        return ""
