"""A script that sweeps outside a main guard: workers would start it again, and the sweep says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[3]
IMPORTS: Final = f"import sys, threading\nsys.path.insert(0, {str(ROOT)!r})\n"
ASK: Final = "from backtest.sweep.running.main_guard import unguarded_script\n"
THREAD: Final = "t = threading.Thread(target=lambda: print(unguarded_script())); t.start(); t.join()\n"
SWEEP: Final = """
from pathlib import Path
from backtest.param_sweep import ParameterSweep
from backtest.sweep.settings import SweepSettings
from tests.backtest.sweep.test_param_sweep import BARS

settings = SweepSettings(workers=1, folder=Path(sys.argv[1]), engine="event")
sweep = ParameterSweep("sma_cross_v1", "ATOM/USDT", data=BARS, settings=settings)
sweep.add_param_range("fast", [3, 4])
print(len(sweep.run_here().table))
"""


def output_of(folder: Path, text: str, name: str = "script.py") -> str:
    script = folder / name
    script.write_text(IMPORTS + text)
    process = subprocess.run([sys.executable, str(script), str(folder)], capture_output=True, text=True, cwd=folder)
    return (process.stdout or process.stderr).strip()


@pytest.mark.parametrize(
    "text",
    [
        ASK + "print(unguarded_script())\n",
        ASK + "def ask():\n    print(unguarded_script())\nask()\n",
        ASK + THREAD,
    ],
    ids=["top level", "function", "another thread"],
)
def test_a_script_without_a_main_guard_is_named(tmp_path: Path, text: str) -> None:
    assert output_of(tmp_path, text) == str(tmp_path / "script.py")


@pytest.mark.parametrize("guard", ['if __name__ == "__main__":', 'if "__main__" == __name__ and True:'])
def test_a_script_with_a_main_guard_is_not(tmp_path: Path, guard: str) -> None:
    assert output_of(tmp_path, f"{ASK}{guard}\n    print(unguarded_script())\n") == "None"
    assert output_of(tmp_path, f"{ASK}{guard}\n    {THREAD}") == "None"


def test_a_module_that_is_run_needs_none(tmp_path: Path) -> None:
    assert output_of(tmp_path, ASK + "print(unguarded_script())\n", "__main__.py") == "None"


@pytest.mark.full
def test_a_sweep_out_of_a_script_without_a_main_guard_says_which_lines_to_add(tmp_path: Path) -> None:
    last = output_of(tmp_path, SWEEP).splitlines()[-1]

    assert f"a worker could not start: it imports {tmp_path / 'script.py'}, which starts the sweep again" in last
    assert 'add the line `if __name__ == "__main__":`' in last
