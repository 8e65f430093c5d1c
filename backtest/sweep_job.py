"""What a worker needs to run sets of parameters, and how it travels: once, as a file that is mapped, not per task.

``run_sets`` is the task. It takes the job itself (threads, Dask after scattering) or the ``JobFile`` that leads to it.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from backtest.contracts import BacktestConfig
from backtest.engine import BacktestEngine
from backtest.metrics import columns_of
from backtest.metrics_returns import UNBOUNDED, Floats, Ints, changes, excess_kurtosis, ratio, skew, spread
from backtest.price_grid import derived_instrument
from backtest.seats import Entrant
from backtest.series import BarSeries
from backtest.sweep_space import ParamSet
from backtest.trade_tape import TradeTape
from core.errors import ConfigError
from core.instruments import Instrument, Instruments
from risk.limits import RiskLimits

if TYPE_CHECKING:
    from backtest.compiled import CompiledRun

RETURN_COLUMNS: Final = (
    "sharpe_per_period", "returns_count", "returns_mean", "returns_variance", "returns_skew", "returns_kurtosis",
)  # fmt: skip
"""Of the periodic returns; the kurtosis is the excess over a normal distribution's."""
EquityAt = Callable[[Ints], Floats]
"""The capital after the bars of these numbers."""
_LONGEST_ERROR: Final = 500  # characters that a row keeps


class Numbered(NamedTuple):
    """A set and its number in the order of the search."""

    number: int
    values: ParamSet


class Outcome(NamedTuple):
    """What came of a set: its metrics or the error, and its returns per block where they are kept (float32)."""

    number: int
    values: ParamSet
    metrics: Mapping[str, float]
    error: str = ""
    returns: bytes = b""


@dataclass(frozen=True, eq=False)
class SweepJob:
    """One sweep, without its sets.

    Attributes:
        entrant: the strategy with the parameters that all sets share.
        data: cut to the run and in all its timeframes, so that no run does it again.
        compiled: whether the sets run in the compiled engine.
        period_ends: at which times the curve is read for ``RETURN_COLUMNS``, UTC epoch ns.
        block_ends: and for the kept returns; None keeps none.
        names: of the values of a set.
    """

    config: BacktestConfig
    entrant: Entrant
    data: tuple[BarSeries | TradeTape, ...]
    instruments: Instruments
    limits: RiskLimits
    compiled: bool
    names: tuple[str, ...]
    period_ends: Ints
    block_ends: Ints | None

    @cached_property
    def series(self) -> BarSeries:
        """What a compiled run goes over."""
        found = self.data[0]
        if len(self.data) != 1 or not isinstance(found, BarSeries):
            raise ConfigError(f"compiled sweep: expected one series of bars, got {len(self.data)} of data")
        return found

    @cached_property
    def market(self) -> Any:
        """The same, made ready once for all compiled runs."""
        from backtest.compiled_market import KernelMarket

        return KernelMarket.of(self.series, self.instrument)

    @cached_property
    def instrument(self) -> Instrument:
        """What a compiled run trades."""
        symbol = self.config.symbol
        return self.instruments[symbol] if symbol in self.instruments else derived_instrument([self.series])

    def evaluate(self, numbered: Numbered) -> Outcome:
        """Run one set; whatever it raises becomes its row."""
        params = {**self.entrant.params, **dict(zip(self.names, numbered.values, strict=True))}
        try:
            metrics, ts_ns, equity_at = self._compiled(params) if self.compiled else self._by_events(params)
        except Exception as error:  # noqa: BLE001 — foreign code: one set that fails must not end the others
            text = " ".join(f"{type(error).__name__}: {error}".split())
            return Outcome(*numbered, {}, text[:_LONGEST_ERROR])
        figures = {**metrics, **return_figures(self._returns(ts_ns, equity_at, self.period_ends))}
        if self.block_ends is None:
            return Outcome(*numbered, figures)
        kept = self._returns(ts_ns, equity_at, self.block_ends).astype(np.float32).tobytes()
        return Outcome(*numbered, figures, returns=kept)

    def _by_events(self, params: Mapping[str, Any]) -> tuple[dict[str, float], Ints, EquityAt]:
        config, entrant = replace(self.config, params=params), replace(self.entrant, params=params)
        result = BacktestEngine(config, [entrant], self.data, self.instruments, self.limits).run()
        ts_ns, equity = columns_of(result.equity_curve)
        metrics = {
            **result.metrics,
            "final_equity": result.final_capital,
            "fills": float(len(result.fills)),
            "denied": float(result.denied),
        }
        return metrics, ts_ns, equity.__getitem__

    def _compiled(self, params: Mapping[str, Any]) -> tuple[dict[str, float], Ints, EquityAt]:
        from backtest.compiled import run_kernel

        run = run_kernel(self.entrant.make, params, self.market, self.config, self.instrument)  # type: ignore[arg-type]
        metrics = {name: float(value) for name, value in run.metrics.items()}
        metrics["profit_factor"] = ratio(metrics["gross_profit"], metrics["gross_loss"])
        return metrics, self.series.ts_close, partial(_equity_at, run)

    def _returns(self, ts_ns: Ints, equity_at: EquityAt, ends: Ints) -> Floats:
        """From the capital at the start to the last end."""
        start, at = self.config.initial_capital, np.searchsorted(ts_ns, ends, side="right") - 1
        return changes(np.insert(np.where(at < 0, start, equity_at(at)), 0, start))


def _equity_at(run: CompiledRun, bars: Ints) -> Floats:
    """``run.equity[bars]``, without working out all the other bars."""
    from backtest import compiled_loop as loop

    fills, rules = run.fills, run.rules.values
    lots, ticks, fees = (fills[:, at] for at in (loop.SIGNED_LOTS, loop.PRICE_TICKS, loop.FEE_UNITS))
    cash = np.cumsum(np.append(0, -rules[loop.PER_MONEY] * lots * ticks - rules[loop.PER_FEE] * fees))
    held = np.cumsum(np.append(0, lots))
    filled = np.searchsorted(fills[:, loop.BAR], bars, side="right")
    units = rules[loop.CAPITAL] + cash[filled] + rules[loop.PER_MONEY] * held[filled] * run.market.grid.close[bars]
    equity: Floats = units / run.rules.scale
    return equity


def return_figures(returns: Floats) -> dict[str, float]:
    """``RETURN_COLUMNS`` of some returns."""
    deviation, mean = spread(returns), float(returns.mean()) if len(returns) else 0.0
    sharpe = ratio(mean, deviation) if deviation else 0.0
    figures = (sharpe, float(len(returns)), mean, deviation**2, skew(returns), excess_kurtosis(returns))
    return dict(zip(RETURN_COLUMNS, (max(-UNBOUNDED, min(UNBOUNDED, each)) for each in figures), strict=True))


@dataclass(frozen=True)
class JobFile:
    """A job laid down on this machine's disk: ``path`` holds its columns, which workers map and share."""

    path: Path
    fingerprint: str

    @classmethod
    def write(cls, job: SweepJob, path: Path, fingerprint: str) -> JobFile:
        """Lay it down. Raises ConfigError for a strategy that cannot be found by its name in another process."""
        head, buffers = pickled(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            sizes = [len(buffer) for buffer in buffers]
            pickle.dump((head, sizes), file)
            file.write(b"\0" * (-file.tell() % 64))
            for buffer in buffers:
                file.write(buffer)
        os.replace(part, path)
        return cls(path, fingerprint)

    def read(self) -> SweepJob:
        """The job, its columns mapped."""
        with self.path.open("rb") as file:
            head, sizes = pickle.load(file)
            start = file.tell() + -file.tell() % 64
        whole = np.memmap(self.path, np.uint8, "r")
        buffers = []
        for size in sizes:
            buffers.append(whole[start : start + size])
            start += size
        job: SweepJob = pickle.loads(head, buffers=buffers)
        return job


def pickled(job: SweepJob) -> tuple[bytes, list[memoryview]]:
    """The job and its columns apart. Raises ConfigError for what cannot be pickled, named."""
    columns: list[pickle.PickleBuffer] = []
    try:
        head = pickle.dumps(job, protocol=5, buffer_callback=columns.append)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"strategy {job.entrant.strategy_id!r}: expected a class at the top of a module, which other processes can "
            f"import, got {job.entrant.make!r}: {error}"
        ) from None
    return head, [column.raw() for column in columns]


def run_sets(source: JobFile | SweepJob, sets: Sequence[Numbered]) -> list[Outcome]:
    """The task of a worker."""
    job = source if isinstance(source, SweepJob) else _read(source)
    return [job.evaluate(each) for each in sets]


@lru_cache(maxsize=1)
def _read(source: JobFile) -> SweepJob:
    return source.read()
