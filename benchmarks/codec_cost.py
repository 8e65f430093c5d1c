"""The cost of our strict codec over bare msgspec on a plain dataclass of the same fields.

Ours refuses unknown fields, checks the values again on decoding and, off the wire, takes producer and sequence along.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

import msgspec

from benchmarks.result import Figure, Result, verify
from benchmarks.timing import alternating
from benchmarks.workload import Workload, bench_config, synthetic_trades
from core import codec
from core.contracts import TradeEvent

_NS: Final = 1e9


@dataclass(slots=True)
class BareTrade:
    """A trade without a rule."""

    symbol: str
    price: float
    qty: float
    side: str
    ts: int
    trade_id: str = ""
    venue: str = ""
    ts_recv_ns: int = 0


def run(work: Workload) -> Result:
    """Each direction over the same trades, ours and the floor taking turns."""
    trades = synthetic_trades(bench_config(work.folder), work.size(20_000, 5_000, 200))
    wire = [codec.encode(trade) for trade in trades]
    sent = [codec.encode_message(trade, codec.Meta("md_ingest", n)) for n, trade in enumerate(trades, 1)]
    encoder, decoder = msgspec.json.Encoder(), msgspec.json.Decoder(BareTrade)
    bare = [decoder.decode(line) for line in wire]
    verify("trades after a round trip", trades, [codec.decode(TradeEvent, line) for line in wire])
    verify("messages after a round trip", trades, [codec.decode_message(TradeEvent, line)[0] for line in sent])
    verify("bytes of the floor", wire, [encoder.encode(trade) for trade in bare])
    seconds = alternating(
        work.size(7, 3, 1),
        lambda: [codec.encode(trade) for trade in trades],
        lambda: [encoder.encode(trade) for trade in bare],
        lambda: [codec.decode(TradeEvent, line) for line in wire],
        lambda: [decoder.decode(line) for line in wire],
        lambda: [codec.decode_message(TradeEvent, line) for line in sent],
        lambda: [json.loads(line) for line in wire],
        lambda: [json.dumps(asdict(trade)) for trade in bare],
    )
    ns = [taken / len(trades) * _NS for taken in seconds]
    encode, bare_encode, decode, bare_decode, message, loads, dumps = ns
    figures = [
        Figure("encode a trade", encode, "ns", bare_encode, note=f"json.dumps(asdict()): {dumps:,.0f} ns"),
        Figure("decode a trade", decode, "ns", bare_decode, note=f"json.loads to a dict: {loads:,.0f} ns"),
        Figure("decode off the wire", message, "ns", bare_decode, note="with producer and sequence"),
    ]
    return Result("codec", figures, f"{len(trades):,} trades, both directions equal")
