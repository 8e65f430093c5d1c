"""A compiled sweep works out whole chunks at once; every row is what its set gives alone, however they are cut."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtest.compiled.engine import run_kernel
from backtest.compiled.market import KernelMarket
from backtest.contracts import BacktestConfig
from backtest.data.series import BarSeries
from backtest.engine.slots import Entrant
from backtest.metrics.returns import changes, excess_kurtosis, ratio, sharpe_ratio, skew, spread
from backtest.param_sweep import ParameterSweep
from backtest.run_request import RunRequest
from backtest.sweep.job import Numbered, Outcome, SweepJob
from backtest.sweep.results.returns import RETURN_COLUMNS, figures_of_rows
from backtest.sweep.running.compiled import CompiledSweep, marked
from backtest.sweep.running.evaluation import SetEvaluator
from backtest.sweep.running.memory import Load, planned, resident_bytes
from backtest.sweep.running.run import SweepInterruptedError
from backtest.sweep.settings import EngineChoice, SweepSettings
from backtest.sweep.setup import job_of
from backtest.sweep.space.parameter_space import ParamSet
from core.config.schema import RiskConfig
from core.errors import ConfigError
from core.instruments import Instrument, Instruments
from risk.limits import RiskLimits
from strategies.kernels.sma_cross import SmaCross
from tests.support.backtests.kernel_cases import SMALL, SYMBOL, AsTold, bars_of, config_of

WALK = 100.0 + np.cumsum(np.random.default_rng(5).normal(0, 0.3, 3_000))
SETS: list[ParamSet] = [(fast, slow) for fast in range(2, 12) for slow in (20, 30, 45)]
NAMES = ("fast", "slow")


def job(minutes: int = 30, block: str | None = "4h", **changed: Any) -> SweepJob:
    bars = bars_of(WALK[: 3_000 if minutes > 1 else 400], minutes=minutes)
    request = request_of(config_of({}, slippage_bps=2.0, **changed), bars)
    compiled, _ = job_of(request, NAMES, SweepSettings(block=block), len(SETS))
    assert compiled.compiled
    return compiled


def request_of(config: BacktestConfig, bars: BarSeries) -> RunRequest:
    return RunRequest(
        config=config,
        data=(bars,),
        entrants=(Entrant("sma_cross_kernel_v1", SmaCross, (SYMBOL,), {"qty": 2.0}),),
        instruments=Instruments([SMALL]),
        limits=RiskLimits.of(RiskConfig()),
        name="test",
        folder=Path(),
    )


def outcomes(of: SweepJob, at_once: int) -> list[Outcome]:
    evaluator = SetEvaluator(of)
    numbered = [Numbered(number, values) for number, values in enumerate(SETS)]
    chunks = (evaluator.evaluate(numbered[at : at + at_once]) for at in range(0, len(SETS), at_once))
    return [outcome for chunk in chunks for outcome in chunk]


@pytest.mark.parametrize("minutes", [1, 30], ids=["returns of bars", "returns of days"])
def test_a_row_is_what_its_set_gives_alone(minutes: int) -> None:
    sweep = job(minutes, block="1h")
    assert sweep.block_ends is not None

    for number, values, metrics, error, kept in outcomes(sweep, 7):
        params = {"qty": 2.0, **dict(zip(NAMES, values, strict=True))}
        run = run_kernel(SmaCross, params, sweep.series, sweep.config, SMALL)
        periods, blocks = (_returns(run.equity, sweep, ends) for ends in (sweep.period_ends, sweep.block_ends))
        expected = {
            **run.metrics,
            "profit_factor": ratio(run.metrics["gross_profit"], run.metrics["gross_loss"]),
            **dict(zip(RETURN_COLUMNS, _figures(periods), strict=True)),
        }
        assert (number, error, metrics) == (SETS.index(values), "", expected)
        assert np.frombuffer(kept, np.float32).tolist() == blocks.astype(np.float32).tolist()


def _returns(equity: Any, sweep: SweepJob, ends: Any) -> Any:
    at = np.searchsorted(sweep.series.ts_close, ends, side="right") - 1
    start = sweep.config.initial_capital
    return changes(np.array([start, *(equity[bar] if bar >= 0 else start for bar in at.tolist())]))


def _figures(returns: Any) -> list[float]:
    deviation = spread(returns)
    sharpe = sharpe_ratio(returns, 1.0)
    variance = np.float64(deviation) ** 2
    mean = float(returns.mean()) if len(returns) else 0.0
    return [sharpe, float(len(returns)), mean, float(variance), skew(returns), excess_kurtosis(returns)]


def test_a_sweep_over_a_part_of_the_time_gives_what_single_runs_over_it_give() -> None:
    bars = bars_of(WALK, minutes=30)
    config = replace(config_of({}), start_ts=int(bars.ts_open[700]), end_ts=int(bars.ts_open[2_500]))
    sweep, _ = job_of(request_of(config, bars), NAMES, SweepSettings(), len(SETS))

    assert CompiledSweep.of(sweep).warm()
    for _, values, metrics, error, _ in outcomes(sweep, 7):
        run = run_kernel(SmaCross, {"qty": 2.0, **dict(zip(NAMES, values, strict=True))}, bars, config, SMALL)
        assert (error, len(run.market)) == ("", 1_800)
        assert run.metrics.items() <= metrics.items()


@pytest.mark.parametrize("at_once", [1, 2, 11])
@pytest.mark.parametrize("minutes", [1, 30])
def test_rows_do_not_depend_on_how_sets_are_cut_into_chunks(
    minutes: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = outcomes(job(minutes), len(SETS))
    assert outcomes(job(minutes), at_once) == whole

    monkeypatch.setattr("backtest.sweep.running.compiled.SAMPLES", 3 * 8 * 500)  # a few sets to a call
    assert outcomes(job(minutes), len(SETS)) == whole


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(0, 70), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-15, 0.01]))
def test_the_moments_of_a_row_are_those_of_the_metrics(sets: int, count: int, seed: int, size: float) -> None:
    rows = 0.001 + np.random.default_rng(seed).normal(0.0, 1.0, (sets, count)) * size
    rows[0] = 0.0

    found = figures_of_rows(rows)

    wanted = [_figures(row) for row in rows]
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)  # sums over rows may be taken in another order


def test_the_returns_of_a_row_are_those_of_the_metrics() -> None:
    values = np.array([[100.0, 110.0, 55.0, 55.0], [100.0, -1.0, 5.0, 7.0], [0.0, 1.0, 2.0, 3.0]])

    assert changes(values).tolist() == [changes(row).tolist() for row in values]
    assert changes(values[1]).tolist() == [-1.0, 0.0, 0.0]  # a capital that is gone stays so
    assert changes(values[2]).tolist() == [0.0, 0.0, 0.0]


def test_more_marks_change_nothing_that_is_measured() -> None:
    market = KernelMarket.of(bars_of(WALK, minutes=30), SMALL)
    finer = marked(market, np.array([-1, 0, 7, 8, 2_999, 500]))
    assert len(finer.marks) > len(market.marks)

    coarse, fine = (
        run_kernel(SmaCross, {"fast": 3, "slow": 20}, each, config_of({}), SMALL) for each in (market, finer)
    )
    assert coarse.metrics == fine.metrics


def sweep_of(folder: Path, **chosen: Any) -> ParameterSweep:
    volumes = np.full(600, 5.0)
    volumes[10:400] = 5.0 + np.arange(390) % 7
    options = {"workers": 2, "block": "1h", "folder": folder, **chosen}
    sweep = ParameterSweep(
        "as_told", SYMBOL, config=config_of({}, initial_capital=1e6), data=bars_of(WALK[:600], volumes),
        strategy=AsTold, instruments=Instruments([SMALL]), settings=SweepSettings(**options),
    )  # fmt: skip
    sweep.add_param_range("unit", [0.5, 1.0, 2.0, 1e200])
    sweep.add_param_range("qty", [1.0, 1e-9, 0.5])
    return sweep


def test_sets_that_fail_in_a_chunk_have_their_errors_and_the_others_their_figures(tmp_path: Path) -> None:
    table = asyncio.run(sweep_of(tmp_path).run())

    failed = table[table.error != ""]
    assert sorted(zip(failed.unit, failed.qty, strict=True)) == sorted(
        (unit, qty) for unit in (0.5, 1.0, 2.0, 1e200) for qty in (1.0, 1e-9, 0.5) if unit > 2.0 or qty < 0.1
    )
    assert failed.final_equity.isna().all()
    said = dict(zip(zip(failed.unit, failed.qty, strict=True), failed.error, strict=True))
    assert said[0.5, 1e-9].startswith("ConfigError: params.qty: expected at least one lot")
    assert said[1e200, 1.0].startswith("ContractError: AsTold, set {'unit': 1e+200")
    assert (table[table.error == ""].num_trades > 0).all()
    assert len(next(iter(tmp_path.glob("trials/*"))).read_bytes().splitlines()) == len(table) - len(failed)


def test_a_compiled_sweep_writes_the_same_bytes_whatever_runs_it(tmp_path: Path) -> None:
    written = []
    for workers, memory in ((0, None), (1, None), (3, resident_bytes() + 10**9)):  # beside what this process has
        folder = tmp_path / f"{workers}"
        sweep = sweep_of(folder, workers=workers, memory=memory)
        asyncio.run(sweep.run())
        assert sweep.outcome is not None
        kept = sweep.outcome.files["checkpoint"].with_suffix(".f32").read_bytes()
        written.append(((folder / "sweep_results.csv").read_bytes(), kept))

    assert written[0] == written[1] == written[2]


def test_a_compiled_sweep_that_was_stopped_goes_on(tmp_path: Path) -> None:
    stop, first = threading.Event(), sweep_of(tmp_path / "a")
    first._watch = lambda progress: stop.set() if progress.done else None
    with pytest.raises(SweepInterruptedError, match="the same command goes on from there"):
        first.run_here(stop)

    sweep_of(tmp_path / "a").run_here()
    sweep_of(tmp_path / "b").run_here()

    written = [(tmp_path / name / "sweep_results.csv").read_bytes() for name in ("a", "b")]
    assert written[0] == written[1]


def test_a_compiled_sweep_that_lost_its_last_chunk_goes_on(tmp_path: Path) -> None:
    whole = sweep_of(tmp_path, workers=0)
    asyncio.run(whole.run())
    assert whole.outcome is not None
    csv, path = (tmp_path / "sweep_results.csv").read_bytes(), whole.outcome.files["checkpoint"]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:20])

    again, told = sweep_of(tmp_path, workers=2), list[str]()
    again._say = told.append
    asyncio.run(again.run())

    assert "sets are known from" in told[0]
    assert (tmp_path / "sweep_results.csv").read_bytes() == csv


def test_a_kernel_that_is_compiled_needs_no_room_for_its_compiler() -> None:
    cold, warm = (Load(1_000, 10_000, compiled=True, blocks=0, marks=40, warm=each) for each in (False, True))

    assert CompiledSweep.of(job()).warm()
    assert cold.shared - warm.shared == 100 * 10**6
    assert planned(warm, 4, 320 * 10**6, 250 * 10**6).workers == 4
    with pytest.raises(ConfigError, match="memory: expected at least"):
        planned(cold, 4, 320 * 10**6, 250 * 10**6)


def test_a_kernel_that_cannot_run_at_all_fails_in_every_row(tmp_path: Path) -> None:
    bars = bars_of(WALK[:60] + 0.003)
    off_grid = bars.close + 0.003

    sweep = job()
    object.__setattr__(sweep, "data", (_with_closes(bars, off_grid),))
    failures = SetEvaluator(sweep).evaluate([Numbered(0, (2, 20)), Numbered(1, (3, 20))])

    assert [outcome.number for outcome in failures] == [0, 1]
    assert all(outcome.error for outcome in failures)


def _with_closes(bars: Any, closes: Any) -> Any:
    high = np.maximum(bars.high, closes)
    return type(bars)(
        bars.symbol, bars.timeframe, bars.ts_open, bars.ts_close, bars.open, high, bars.low, closes, bars.volume
    )


def test_a_sweep_that_the_compiled_engine_cannot_count_runs_in_the_event_engine_and_says_so(tmp_path: Path) -> None:
    heard: list[str] = []
    fine = Instrument(SYMBOL, Decimal("1e-9"), Decimal("1e-9"))

    def sweep(engine: EngineChoice) -> ParameterSweep:
        of_engine = ParameterSweep(
            "sma_cross_kernel_v1", SYMBOL, config=config_of({}, initial_capital=1e9), data=bars_of(WALK[:200]),
            strategy=SmaCross, instruments=Instruments([fine]), say=heard.append,
            settings=SweepSettings(workers=0, folder=tmp_path / engine, engine=engine),
        )  # fmt: skip
        of_engine.add_param_range("fast", [3, 5])
        of_engine.add_param_range("slow", [9])
        return of_engine

    outcome = sweep("auto").run_here()

    assert not outcome.compiled
    assert outcome.table.error.tolist() == ["", ""]
    assert any("event engine, since the compiled one cannot: ContractError: " in note for note in outcome.notes)
    assert outcome.notes[-1] == heard[-1]
    with pytest.raises(ConfigError, match=r"all 2 sets failed, the first one with ContractError: .*compiled run of"):
        sweep("compiled").run_here()
