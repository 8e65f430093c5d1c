"""The sample strategies' golden files: prices in, intents out, and the hash of the intent list.

``python -m scripts.regenerate_goldens`` answers the recorded prices anew and writes what changed, to be reviewed
as a diff; with ``--check`` it writes nothing and fails when something would change.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Final

from core import codec, ids
from core.bus import MemoryBus
from core.clock import NS_PER_S
from core.console import adapt_console
from core.contracts import FillEvent, OrderIntent, TradeEvent
from core.instruments import Instrument, Instruments
from strategies.manager import StrategyManager
from strategies.registry import StrategyRegistry

FOLDER: Final = Path(__file__).resolve().parent.parent / "tests" / "golden"
START_NS: Final = 1_704_067_200 * NS_PER_S  # 2024-01-01 00:00:00 UTC
PRICES: Final = 600
_INSTRUMENT: Final = {"symbol": "ATOM/USDT", "tick_size": "0.001", "lot_size": "0.01"}


@dataclass(frozen=True)
class Golden:
    """One file: the strategy's entry and instrument, the prices it sees, what it is to answer."""

    entry: dict[str, Any]
    instrument: dict[str, Any]
    prices: tuple[tuple[int, float], ...]

    @property
    def symbol(self) -> str:
        """The one symbol that is traded."""
        return str(self.instrument["symbol"])

    def trades(self) -> Iterator[TradeEvent]:
        """The prices as trades, numbered from 1."""
        for number, (ts_ns, price) in enumerate(self.prices, 1):
            yield TradeEvent(self.symbol, price, 1.0, "buy", ts_ns, trade_id=str(number))

    def answers(self) -> list[tuple[TradeEvent, list[OrderIntent]]]:
        """Every trade with what the strategy, hosted as in the daemon, answers; intents are filled at once in full."""
        grid = Instrument(self.symbol, Decimal(self.instrument["tick_size"]), Decimal(self.instrument["lot_size"]))
        manager = StrategyManager(StrategyRegistry(), MemoryBus(), instruments=Instruments([grid]), budget_s=None)
        manager.install({"strategies": [self.entry]})
        if manager.failures:
            raise RuntimeError(f"{self.entry['id']}: {manager.failures}")
        answered: list[tuple[TradeEvent, list[OrderIntent]]] = []
        for trade in self.trades():
            intents = [answer for answer in manager.on_event(trade) if isinstance(answer, OrderIntent)]
            for intent in intents:
                manager.on_event(_filled(intent, trade))
            answered.append((trade, intents))
        return answered

    def lines(self) -> list[bytes]:
        """The file's lines."""
        lines = [codec.encode_plain({"entry": self.entry, "instrument": self.instrument})]
        intents: list[OrderIntent] = []
        for trade, answered in self.answers():
            lines.append(codec.encode_plain({"ts": trade.ts, "price": trade.price}))
            lines += [codec.encode_plain({"intent": intent.to_dict()}) for intent in answered]
            intents += answered
        return [*lines, codec.encode_plain({"intents": len(intents), "sha256": hash_of(intents)})]


def hash_of(intents: Sequence[OrderIntent]) -> str:
    """SHA-256 over the intents as they go over the wire, one to a line."""
    return hashlib.sha256(b"".join(codec.encode(intent) + b"\n" for intent in intents)).hexdigest()


def read(path: Path) -> Golden:
    """The setup and the prices of a golden file."""
    lines = [codec.decode_plain(line) for line in path.read_bytes().splitlines()]
    prices = tuple((line["ts"], line["price"]) for line in lines if "price" in line)
    return Golden(lines[0]["entry"], lines[0]["instrument"], prices)


def fresh(name: str) -> Golden:
    """The golden of a sample that has no file yet, over prices out of a fixed seed."""
    class_name, seed, params = _SAMPLES[name]
    entry = {
        "id": f"{name}_v1",
        "class": f"strategies.samples.{name}.{class_name}",
        "symbols": [_INSTRUMENT["symbol"]],
        "events": ["md.trades.*"],
        "params": params,
    }
    return Golden(entry, _INSTRUMENT, tuple(_walk(seed)))


_SAMPLES: Final[dict[str, tuple[str, int, dict[str, Any]]]] = {
    "sma_cross": ("SmaCross", 3, {"fast": 10, "slow": 50, "qty": 10.0}),
    "trendline_break": ("TrendlineBreak", 7, {"lookback_periods": 20, "breakout_threshold": 0.02, "qty": 10.0}),
    "rsi_tema_bb": (
        "RsiTemaBb",
        2,
        {"rsi_period": 14, "tema_period": 9, "bb_period": 20, "bb_std": 2.0, "qty": 10.0, "order_type": "limit"},
    ),
}


def _walk(seed: int) -> Iterator[tuple[int, float]]:
    """A price a second on the tick grid: a walk whose direction lasts, with a jump now and then."""
    random, ticks, drift = Random(seed), 8_000, 0
    for second in range(PRICES):
        if random.random() < 0.08:
            drift = random.randrange(-25, 26)
        ticks += drift + random.randrange(-20, 21)
        if random.random() < 0.04:
            ticks += random.choice((-1, 1)) * ticks // 40
        yield START_NS + second * NS_PER_S, ticks / 1_000


def _filled(intent: OrderIntent, trade: TradeEvent) -> FillEvent:
    order = ids.order_id(intent.intent_id)
    return FillEvent(
        order, intent.symbol, intent.side, intent.qty, trade.price, 0.0, trade.ts,
        fill_id=ids.fill_id(order, 1), intent_id=intent.intent_id, strategy_id=intent.strategy_id,
    )  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Regenerate or, with ``--check``, compare; returns the exit code."""
    if unknown := [argument for argument in arguments if argument != "--check"]:
        print(f"unknown argument {unknown[0]!r}: expected none or --check", file=sys.stderr)
        return 2
    stale = 0
    for name in sorted(_SAMPLES):
        path = FOLDER / f"{name}.jsonl"
        golden = read(path) if path.exists() else fresh(name)
        content = b"\n".join(golden.lines()) + b"\n"
        if path.exists() and path.read_bytes() == content:
            print(f"{path.name}: unchanged")
            continue
        stale += 1
        if "--check" in arguments:
            print(f"{path.name}: stale; run python -m scripts.regenerate_goldens and review the diff")
        else:
            path.write_bytes(content)
            print(f"{path.name}: written; review the diff")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    adapt_console()
    sys.exit(main(sys.argv[1:]))
