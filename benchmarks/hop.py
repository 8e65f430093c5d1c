"""One broadcast hop between two processes: typed through RedisBus beside bare redis-py, every second message either."""

from __future__ import annotations

from benchmarks.processes import Processes
from benchmarks.result import Budget, Figure, Result, verify
from benchmarks.timing import Spread, spread
from benchmarks.workload import Workload

P50 = Budget("at most", 1.5, "ratio")
_GAP_US = 2_500
_WARM = 50


def run(work: Workload) -> Result:
    """Over TCP and over the unix socket."""
    count = work.size(1_500, 400, 20)
    figures: list[Figure] = []
    for transport, url in (("TCP", work.server_url), ("unix socket", work.unix_url)):
        ours, bare = _hop(work, url, count)
        figures.append(Figure(f"{transport} p50", ours.p50, "µs", bare.p50, P50))
        figures.append(Figure(f"{transport} p99", ours.p99, "µs", bare.p99))
    return Result("hop", figures, f"{count:,} trades each way, all arrived and decoded to what was sent")


def _hop(work: Workload, url: str, count: int) -> tuple[Spread, Spread]:
    with Processes(work.folder / "hop", {}) as processes:
        receiver = processes.role("hop_receiver", url)
        sender = processes.role("hop_sender", url)
        for number in (min(_WARM, count), count):
            sent = sender.ask("go", number, _GAP_US)
            came = receiver.ask("take", number)
            verify("trades that arrived", number, len(came["ours"]))
            verify("bare messages that arrived", number, len(came["bare"]))
            verify("the sum over the trades", sent["sum"], came["sum"])
    latencies = ([b - a for a, b in zip(sent[lane], came[lane], strict=True)] for lane in ("ours", "bare"))
    ours, bare = (spread(sample) for sample in latencies)
    return ours, bare
