"""Compiled code on disk: what it is filed under, and that a second process finds it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
import pytest
from numba.core.caching import CacheImpl

from core.errors import ConfigError
from strategies import kernel_cache
from strategies.kernel_cache import compiled_with_cache, fingerprint, kernel_function, kernel_size
from strategies.kernels import sma_cross

ROOT = Path(__file__).resolve().parents[2]
SECOND_START = """
import numpy as np
from backtest.compiled.engine import run_kernel
from backtest.compiled.loop import loop_of
from strategies.kernels.sma_cross import SmaCross
from tests.support.backtests.kernel_cases import SMALL, bars_of, config_of
run_kernel(SmaCross, {"fast": 2, "slow": 3}, bars_of(np.full(9, 7.0)), config_of({}), SMALL)
for each in (loop_of(SmaCross.step), SmaCross.host_step):
    print(sum(each.stats.cache_hits.values()), sum(each.stats.cache_misses.values()))
print(len(SmaCross.step.signatures))
"""


def kernel_calling(part: Any, factor: float = 2.0) -> Any:
    """A kernel that calls ``part`` and multiplies by ``factor``."""

    def step(value: float) -> float:
        found: float = part(value) * factor
        return found

    return kernel_function(step)


def plain(value: float) -> float:
    """A part."""
    return value + 1.0


def other(value: float) -> float:
    """Another one."""
    return value + 2.0


def test_a_fingerprint_is_of_everything_that_is_called() -> None:
    base = fingerprint(kernel_calling(kernel_function(plain)))
    assert base == fingerprint(kernel_calling(kernel_function(plain)))
    assert base != fingerprint(kernel_calling(kernel_function(other)))
    assert base != fingerprint(kernel_calling(kernel_function(plain), 3.0))
    assert base != fingerprint(kernel_calling(numba.njit(fastmath=True)(plain)))


def test_a_changed_global_is_a_changed_kernel() -> None:
    step: Any = sma_cross.step
    function: FunctionType = step.py_func
    changed = FunctionType(function.__code__, {**function.__globals__, "ROUNDING": 1e-9})
    assert fingerprint(kernel_function(changed)) != fingerprint(kernel_function(function))


def test_a_kernel_that_moved_to_another_module_is_another_one() -> None:
    step: Any = sma_cross.step
    function: FunctionType = step.py_func
    moved = FunctionType(function.__code__, function.__globals__)
    moved.__module__ = "strategies.kernels.renamed"
    assert fingerprint(kernel_function(moved)) != fingerprint(kernel_function(function))


def test_without_a_folder_for_the_cache_kernels_run_and_a_warning_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    kernel_cache._warn_without_cache.cache_clear()

    calls = [compiled_with_cache(plain), compiled_with_cache(other)]

    assert [call(1.0) for call in calls] == [2.0, 3.0]
    (record,) = caplog.records
    assert "set NUMBA_CACHE_DIR to one" in record.getMessage()


def test_a_size_runs_in_python_and_in_a_kernel() -> None:
    @kernel_size
    def size(period: int) -> int:
        return period + 4

    def call(period: int) -> int:
        return size(period)

    assert size(3) == 7
    assert kernel_function(call)(3) == 7


def test_a_part_that_caches_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match="plain: expected no cache=True"):
        fingerprint(kernel_calling(numba.njit(cache=True)(plain)))


def test_a_kernel_must_not_lean_on_an_object() -> None:
    table = [1.0, 2.0]

    def step(value: float) -> float:
        return value + table[0]

    with pytest.raises(ConfigError, match=r"expected globals that are numbers.*got \[1.0, 2.0\]"):
        compiled_with_cache(step)


@pytest.mark.full
def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    said = [
        subprocess.run(
            [sys.executable, "-c", SECOND_START], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert said[0][:4] == ["0", "1", "0", "1"]
    assert said[1] == ["1", "0", "1", "0", "0"]  # loop and host step read from disk, the step itself never compiled


@pytest.mark.full
def test_a_kernel_whose_file_was_renamed_loads(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    source = (ROOT / "strategies/kernels/sma_cross.py").read_text()
    for name in ("kernel_by_its_old_name", "kernel_by_its_new_name"):
        path = tmp_path / f"{name}.py"
        path.write_text(source)
        start = SECOND_START.replace("strategies.kernels.sma_cross", name)
        subprocess.run([sys.executable, "-c", start], cwd=ROOT, env=environment, check=True, capture_output=True)
        path.unlink()
