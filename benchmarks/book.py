"""From the recorded capture's raw lines to order books, beside json and a dict of levels.

Ours also checks every field and id, orders, and emits the checksummed top of book after each update.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.result import Budget, Figure, Result, SkippedError, verify
from benchmarks.timing import alternating
from benchmarks.workload import SYMBOL, Workload, bench_config, unpacked_capture
from core.contracts import BookEvent
from core.instruments import Instruments
from core.market.capture import Recording, RecordingReader, raw_events
from core.market.lines import BadLine

MESSAGES_PER_S = Budget("at least", 300_000)


def run(work: Workload) -> Result:
    """Both to the end of the capture, where their best bid and ask must agree."""
    config = bench_config(work.folder)
    capture = unpacked_capture(work, config)
    if capture is None:
        raise SkippedError("no recorded capture; name its folder in NJORD_TEST_DATA")
    path, instruments = capture[0], config.instruments_table()
    lines = path.read_bytes().count(b"\n")
    ours_last, count = _ours(path, instruments)
    bare_bids, bare_asks = _bare(path)
    verify("the best bid", max(bare_bids), ours_last.bids[0][0])
    verify("the best ask", min(bare_asks), ours_last.asks[0][0])
    verify("the quantity at the best bid", bare_bids[max(bare_bids)], ours_last.bids[0][1])
    ours, bare = alternating(work.size(5, 2, 1), lambda: _ours(path, instruments), lambda: _bare(path))
    figure = Figure("capture to books", lines / ours, "messages/s", lines / bare, MESSAGES_PER_S, "floor: json")
    return Result("book", [figure], f"{lines:,} messages, {count:,} books, best prices equal at the end")


def _ours(path: Path, instruments: Instruments) -> tuple[BookEvent, int]:
    bad: list[BadLine] = []
    reader = RecordingReader(Recording(path), instruments, bad.append)
    count, last = 0, None
    for event in raw_events(reader.items(), (SYMBOL,), ("book",)):
        if type(event) is BookEvent:
            count, last = count + 1, event
    verify("bad lines", [], [line for line in bad if not line.used])
    assert last is not None
    return last, count


def _bare(path: Path) -> tuple[Mapping[float, float], Mapping[float, float]]:
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    waiting: list[dict[str, object]] = []
    last_id = 0
    with path.open("rb") as lines:
        for line in lines:
            message = json.loads(line.partition(b" ")[2])
            data = message.get("data", message)
            if "lastUpdateId" in data:
                last_id = data["lastUpdateId"]
                _change(bids, data["bids"])
                _change(asks, data["asks"])
                for diff in waiting:
                    _apply(bids, asks, diff, last_id)
            elif data.get("e") == "depthUpdate":
                if last_id:
                    _apply(bids, asks, data, last_id)
                else:
                    waiting.append(data)
    return bids, asks


def _apply(bids: dict[float, float], asks: dict[float, float], diff: dict[str, object], last_id: int) -> None:
    if diff["u"] > last_id:  # type: ignore[operator]  # plain JSON
        _change(bids, diff["b"])
        _change(asks, diff["a"])


def _change(side: dict[float, float], levels: object) -> None:
    for price, qty in levels:  # type: ignore[attr-defined]  # plain JSON
        if float(qty):
            side[float(price)] = float(qty)
        else:
            side.pop(float(price), None)
