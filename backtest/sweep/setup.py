"""A run and settings made into a sweep's job and fingerprint: engine chosen, data prepared once, times of returns."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from backtest.contracts import BacktestConfig, FillTiming
from backtest.data import fingerprints
from backtest.data.input_data import prepared
from backtest.data.series import BarSeries
from backtest.data.trade_tape import TradeTape
from backtest.engine.slots import Entrant
from backtest.metrics.returns import DAY_NS, Ints
from backtest.run_request import RunRequest
from backtest.sweep.job import SweepJob
from backtest.sweep.running.checkpoint import SweepFingerprint
from backtest.sweep.settings import EngineChoice, SweepSettings
from backtest.sweep.space.search import Search
from core.errors import ConfigError
from core.timeframes import timeframe_ns

_COMPILED: Final = "compiled engine: a kernel strategy, many sets in one call of machine code"
_FASTER: Final = "about a hundred times faster"
_A_KERNEL: Final = f"written as one, as those in strategies/kernels, it would run compiled, {_FASTER}"
_FEWEST_BLOCKS: Final = 32  # two returns for each of the sixteen parts of the cross-validation
_PER_RETURN: Final = 64  # bytes that a kept return takes while the cross-validation works on it


class Obstacle(NamedTuple):
    """Why the compiled engine cannot run a sweep, and what to change so that it can."""

    why: str
    remedy: str


def job_of(request: RunRequest, names: tuple[str, ...], settings: SweepSettings, sets: int) -> tuple[SweepJob, str]:
    """The job of a run over so many sets of the parameters ``names``.

    Returns:
        The job, and a note: in which engine it runs, why, what would make it faster, what is less than asked for.

    Raises:
        ConfigError: a run or settings that do not fit.
    """
    entrant = request.entrants[0]
    tapes, series = prepared(request.config, request.data)
    data: tuple[BarSeries | TradeTape, ...] = tapes or tuple(map(_bare, series))
    config = replace(request.config, params=entrant.params)
    obstacles = _against_compiled(config, entrant, series, names)
    compiled = _is_compiled(settings.engine, obstacles)
    note = _COMPILED if compiled else _why_events(settings.engine, entrant, obstacles)
    ends = period_ends(series, "auto")
    blocks = None
    if settings.block is not None:
        asked = period_ends(series, settings.block)
        blocks = _coarse(asked, sets, settings.memory)
        if len(blocks) < len(asked):
            note += f"; {len(blocks):,} returns a set are kept instead of {len(asked):,}, so that the memory holds them"
    job = SweepJob(config, entrant, data, request.instruments, request.limits, compiled, names, ends, blocks)
    return job, note


def fingerprint_of(job: SweepJob, search: Search) -> SweepFingerprint:
    """What the results follow from."""
    setup: dict[str, Any] = {
        "config": job.config.to_dict(),
        "entrant": [job.entrant.strategy_id, list(job.entrant.symbols), dict(job.entrant.params), job.entrant.events],
        "limits": job.limits.caps() if job.config.risk else None,
        "usd_rates": dict(job.limits.usd_rates),
        "instruments": [
            [i.symbol, str(i.tick_size), str(i.lot_size), str(i.min_notional)] for i in job.instruments.values()
        ],
        "compiled": job.compiled,
        "blocks": None if job.block_ends is None else job.block_ends.tolist(),
    }
    return SweepFingerprint(
        data=fingerprints.of_data(job.data),
        config=fingerprints.of_config(setup),
        code=fingerprints.of_code([job.entrant.make]),
        space=fingerprints.of_config({"names": job.names, **search.to_dict()}),
    )


def period_ends(series: Sequence[BarSeries], block: str) -> Ints:
    """Where returns end: at every multiple of ``block`` (UTC), the last one where the data may have ended before.

    ``auto`` is a day, or a bar of the shortest series where the data is shorter than two days, as for the metrics.
    """
    first, last = (int(pick(bars.ts_close[at] for bars in series)) for pick, at in ((min, 0), (max, -1)))
    if block == "auto" and last - first < 2 * DAY_NS:
        return np.unique(np.concatenate([bars.ts_close for bars in series]))
    length = DAY_NS if block == "auto" else timeframe_ns(block)
    return np.arange(-(-first // length), -(-last // length) + 1, dtype=np.int64) * length


def bars_of(job: SweepJob) -> int:
    """Bars and trades in the data."""
    return sum(len(source) if isinstance(source, BarSeries) else len(source.trades) for source in job.data)


def span_of(job: SweepJob) -> tuple[int, int]:
    """The start of the first bar and the end of the last one, UTC epoch ns; of trades, their times."""
    series = [source for source in job.data if isinstance(source, BarSeries)]
    tapes = [source.trades for source in job.data if isinstance(source, TradeTape)]
    starts = [*(int(bars.ts_open[0]) for bars in series), *(trades[0].ts for trades in tapes)]
    ends = [*(int(bars.ts_close[-1]) for bars in series), *(trades[-1].ts for trades in tapes)]
    return min(starts), max(ends)


def marks_of(job: SweepJob) -> int:
    """At how many bars the curve of a set is read, at most."""
    blocks = 0 if job.block_ends is None else len(job.block_ends)
    return min(bars_of(job), len(job.period_ends) + blocks + 1)


def _coarse(ends: Ints, sets: int, memory: int | None) -> Ints:
    """As many neighbouring blocks made one as it takes for all sets' returns to fit in half of the memory."""
    if memory is None:
        return ends
    room = max(_FEWEST_BLOCKS, memory // (2 * _PER_RETURN * max(1, sets)))
    together = -(-len(ends) // room)
    return ends[::-1][::together][::-1]


def _bare(series: BarSeries) -> BarSeries:
    """The same columns without what was made of them: events are made by the workers, not sent to them."""
    return series.rows(0, len(series))


def _is_kernel(make: Any) -> bool:
    module = sys.modules.get("strategies.kernels.strategy")  # a kernel strategy that is there has imported it
    return module is not None and isinstance(make, type) and issubclass(make, module.KernelStrategy)


def _against_compiled(
    config: BacktestConfig, entrant: Entrant, series: Sequence[BarSeries], names: Sequence[str]
) -> list[Obstacle]:
    """What speaks against the compiled engine; ``names`` are the parameters that vary."""
    checks = (
        (not _is_kernel(entrant.make), f"{entrant.strategy_id} is no kernel strategy", _A_KERNEL),
        (config.risk, "the risk engine is on", "add --no-risk (risk=False); no order is denied then"),
        (
            config.fill_timing is FillTiming.NEXT_TRADE,
            "orders fill at the next trade",
            "choose --fill next_open or bar_close",
        ),
        (len(config.traded) > 1 or len(series) > 1, "it has several series of bars", "give one symbol and timeframe"),
        (
            "order_type" in names or entrant.params.get("order_type", "market") != "market",
            "its orders are no market orders",
            "leave order_type at market",
        ),
    )
    return [Obstacle(why, remedy) for holds, why, remedy in checks if holds]


def _is_compiled(engine: EngineChoice, obstacles: Sequence[Obstacle]) -> bool:
    if engine == "compiled" and obstacles:
        why, remedies = zip(*obstacles, strict=True)
        raise ConfigError(
            f"engine compiled: expected what it can run, but {'; '.join(why)}; {'; '.join(remedies)}; or take engine "
            "event"
        )
    return engine != "event" and not obstacles


def _why_events(engine: EngineChoice, entrant: Entrant, obstacles: Sequence[Obstacle]) -> str:
    how = "event engine, one set after the other"
    if not _is_kernel(entrant.make):
        return f"{how}: {entrant.strategy_id} is no kernel strategy; {_A_KERNEL}"
    asked = [Obstacle("it was asked for", "leave --engine at auto")] if engine == "event" else []
    why, remedies = zip(*asked, *obstacles, strict=True)
    return f"{how}, because {' and '.join(why)}; for the compiled engine, {_FASTER}: {'; '.join(remedies)}"
