"""Our sweeps over a grid of periods: the compiled engine on threads, the event engine in processes."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final

import numpy as np

from benchmarks.peers.njord import config_of, market_of, series_of
from benchmarks.peers.protocol import Answer, Bars, Engine, Job, serve

IMPORTS: Final = {
    "compiled": ("backtest.compiled.engine", "strategies.kernels.sma_cross"),
    "event": ("backtest.engine.event_engine", "strategies.samples.sma_cross"),
}


def make(bars: Bars, job: Job) -> Engine:
    """The engine that the job names."""
    return CompiledSweep(bars) if job["engine"] == "compiled" else EventSweep(bars)


class CompiledSweep:
    """``sweep_kernel`` with every metric that it has, a thread per core."""

    def __init__(self, bars: Bars) -> None:
        self._market = market_of(bars)

    def arrange(self, job: Job) -> Any:
        """The grid as an array."""
        return config_of(job), np.array(job["sets"], dtype=np.float64)

    def run(self, arranged: Any) -> Any:
        """All sets."""
        from backtest.compiled.engine import sweep_kernel
        from strategies.kernels.sma_cross import SmaCross

        config, grid = arranged
        market = self._market
        return sweep_kernel(SmaCross, grid, market, config, market.instrument, threads=os.cpu_count() or 1)

    def read(self, result: Any) -> Answer:
        """The final equities."""
        return {"sets": len(result["final_equity"]), "finals": result["final_equity"].tolist(), "columns": len(result)}


class EventSweep:
    """The event engine with the strategy in Python, a forked process per core."""

    def __init__(self, bars: Bars) -> None:
        self._series = series_of(bars)
        _ = self._series.events, self._series.checksum

    def arrange(self, job: Job) -> Any:
        """A run per set."""
        return [config_of({**job, "fast": fast, "slow": slow}) for fast, slow in job["sets"]]

    def run(self, arranged: Any) -> Any:
        """All sets."""
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(os.cpu_count(), context, _keep, (self._series,)) as pool:
            return list(pool.map(_final, arranged, chunksize=8))

    def read(self, result: Any) -> Answer:
        """The final equities."""
        return {"sets": len(result), "finals": result}


_kept: list[Any] = []  # of a worker: the bars, which come by fork and are never sent


def _keep(series: Any) -> None:
    _kept.append(series)


def _final(config: Any) -> float:
    from backtest.engine import run_backtest
    from strategies.samples.sma_cross import SmaCross

    result = run_backtest(config, _kept[0], SmaCross)
    return result.final_capital


if __name__ == "__main__":
    import json
    import sys

    serve(IMPORTS[json.loads(sys.argv[2])["engine"]], "", make)
