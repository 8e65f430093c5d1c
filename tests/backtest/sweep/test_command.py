"""The sweep's command line: arguments, output, warnings, files, exit codes."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from backtest.lint import command as lint
from backtest.sweep.command import main, parser
from backtest.sweep.running.progress import progress_line
from backtest.sweep.running.run import Progress, SweepRun
from tests.support.backtests.runs import ATOM, csv_of

ROOT = Path(__file__).resolve().parents[3]


def command(folder: Path, *more: str, strategy: str = "sma_cross_v1") -> list[str]:
    """A sweep of seven sets in this process."""
    return [
        *("--strategy", strategy, "--symbol", ATOM, "--data", str(csv_of(folder)), "--out", str(folder / "out")),
        *("--param", "fast=3,5,8", "--param", "slow=5,10,20", "--where", "fast < slow", "--workers", "0", *more),
    ]


def test_a_sweep_prints_the_best_sets_and_where_everything_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, "--best", "3", "--param", "qty=0.5")) == 0

    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0] == f"Parameter Sweep: sma_cross_v1 on {ATOM}"
    assert "Sets:           7 (event engine)" in lines
    assert "Trials ever:    7 on this data" in lines
    head = next(at for at, line in enumerate(lines) if "Sharpe" in line and "fast" in line)
    assert len(lines[head + 1 : head + 4]) == 3
    assert lines[head + 4] == ""
    assert max(map(len, lines[head : head + 4])) <= 120
    assert "sweep: 7 of 7 sets" in printed.err
    out = tmp_path / "out"
    assert f"Results saved to:    {out / 'sweep_results.csv'}" in lines
    table = pd.read_csv(out / "sweep_results.csv")
    whole = json.loads((out / "sweep_results.json").read_text())
    assert [row["fast"] for row in whole["results"]] == table.fast.tolist()
    assert whole["summary"]["config"]["params"] == {"qty": 0.5}


def test_json_is_one_object_with_best_sets_map_and_warnings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(tmp_path, "--json", "--quiet", "--pbo", "--block", "1h")) == 0

    printed = capsys.readouterr()
    assert printed.err == ""
    told = json.loads(printed.out)
    assert told["sets"] == 7
    assert told["best"][0]["sharpe_ratio"] >= told["best"][1]["sharpe_ratio"]
    assert told["best"][0]["neighbours_median"] is not None
    assert 0 <= told["overfitting"]["pbo"] <= 1
    assert told["heat_map"]["x_values"] == [3, 5, 8]
    assert told["heat_map"]["y_values"] == [5, 10, 20]
    assert told["heat_map"]["values"][0][2] is None  # 8 is not below 5
    assert any("kind" in warning for warning in told["warnings"])


def test_a_best_set_on_the_edge_and_few_trades_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        *("--strategy", "sma_cross_v1", "--symbol", ATOM, "--data", str(csv_of(tmp_path)), "--out", str(tmp_path)),
        *("--param", "fast=3", "--param", "slow=60,90,120", "--workers", "0", "--objective", "num_trades"),
        *("--direction", "maximize", "--quiet"),
    ]
    assert main(arguments) == 0

    printed = capsys.readouterr().out
    assert "Warning: The best slow (60) is at the edge of what was tried: look beyond it." in printed
    assert "trades: chance explains a lot." in printed


@pytest.mark.full
def test_kernels_run_in_the_compiled_engine_where_nothing_speaks_against_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, "--no-risk", "--quiet", strategy="sma_cross_kernel_v1")) == 0
    assert "7 (compiled engine)" in capsys.readouterr().out

    assert main(command(tmp_path, "--quiet", strategy="sma_cross_kernel_v1")) == 0
    printed = capsys.readouterr().out
    assert "7 (event engine)" in printed
    assert "Note:    event engine, one set after the other, because the risk engine is on; for the compiled" in printed
    assert "add --no-risk" in printed

    assert main(command(tmp_path, "--quiet", "--engine", "compiled", strategy="sma_cross_kernel_v1")) == 1
    assert "engine compiled: expected what it can run, but the risk engine is on" in capsys.readouterr().err


def test_the_engine_and_what_would_make_it_faster_are_told_before_the_first_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, "--engine", "event", strategy="sma_cross_kernel_v1")) == 0
    told = capsys.readouterr().err.splitlines()
    assert told[0] == (
        "sweep: event engine, one set after the other, because it was asked for and the risk engine is on; for the "
        "compiled engine, about a hundred times faster: leave --engine at auto; add --no-risk (risk=False); no order "
        "is denied then"
    )
    assert told[1].startswith("sweep: 0 of 7 sets")

    limits = command(tmp_path, "--no-risk", "--param", "order_type=market,limit", strategy="sma_cross_kernel_v1")
    assert main(limits) == 0
    assert "because its orders are no market orders" in capsys.readouterr().err

    assert main(command(tmp_path)) == 0
    assert "sweep: event engine, one set after the other: sma_cross_v1 is no kernel" in capsys.readouterr().err


@pytest.mark.full
def test_both_engines_agree_on_a_kernel(tmp_path: Path) -> None:
    tables = []
    for engine in ("compiled", "event"):
        arguments = command(tmp_path, "--no-risk", "--quiet", "--engine", engine, strategy="sma_cross_kernel_v1")
        assert main([*arguments, "--out", str(tmp_path / engine)]) == 0
        tables.append(pd.read_csv(tmp_path / engine / "sweep_results.csv"))

    shared = [name for name in tables[0] if name in tables[1]]
    assert {"sharpe_ratio", "num_trades", "final_equity", "max_drawdown_pct", "returns_skew"} <= set(shared)
    pd.testing.assert_frame_equal(tables[0][shared], tables[1][shared], rtol=1e-9)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--where", "fast < slower"), "--where: expected one of the parameters fast, slow, got 'slower'"),
        (("--param", "speed=1,2"), "all 14 sets failed"),
        (("--memory", "lots"), "memory: expected a size such as 500MB or 2GB"),
        (("--memory", "1MB"), "memory: expected at least "),
        (("--objective", "sharp"), "metric: expected one of "),
        (("--objective", "exposure_pct"), "neither more nor less of it is better in itself; give --direction"),
        (("--block", "7x", "--pbo"), "7x"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], told: str
) -> None:
    assert main(command(tmp_path, "--quiet", *more)) == 1
    error = capsys.readouterr().err
    assert error.startswith("sweep: ")
    assert told in error


def test_a_sweep_needs_something_to_vary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--strategy", "sma_cross_v1", "--symbol", ATOM, "--data", str(csv_of(tmp_path)), "--param", "fast=3"]
    assert main(arguments) == 1
    assert "--param: expected at least one with several values" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "bars"), [((), ""), (("--pbo", "--block", "1h"), " --bars {folder}/bars.csv")], ids=["plain", "kept"]
)
def test_the_summary_leads_on_to_the_lint_with_the_options_of_this_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], bars: str
) -> None:
    assert main(command(tmp_path, "--quiet", *more)) == 0

    last = capsys.readouterr().out.splitlines()[-1]
    results = tmp_path / "out" / "sweep_results.json"
    assert last == f"Is it luck?  njord-ctl lint-backtest {results}{bars.format(folder=tmp_path)}"
    assert lint.main(shlex.split(last)[5:]) == 0


def test_an_interrupted_sweep_ends_with_130_and_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SweepRun, "_evaluate", interrupted)
    assert main(command(tmp_path, "--quiet")) == 130
    told = "sweep: interrupted after 0 of 7 sets; the same command goes on from there\n"
    assert capsys.readouterr().err == told


@pytest.mark.full
def test_a_sweep_of_a_sample_does_not_load_the_compiler(tmp_path: Path) -> None:
    probe = f"import sys; from backtest.sweep.command import main; main({command(tmp_path, '--quiet', '--json')!r})"
    done = subprocess.run(
        [sys.executable, "-c", f"{probe}; print('numba' in sys.modules)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "False"


def test_options_of_a_run_are_options_of_a_sweep() -> None:
    chosen = parser().parse_args(
        ["--strategy", "x", "--symbol", ATOM, "--param", "a=1,2", "--commission", "0.002", "--fill", "next_open"]
    )
    assert (chosen.commission, chosen.fill, chosen.param) == (0.002, "next_open", [("a", "1,2")])


def test_progress_is_told_in_a_line() -> None:
    assert progress_line(Progress(3, 9, 1, 1.234, 75.0)) == "3 of 9 sets, best 1.23, 1 failed, 1 min left"
    assert progress_line(Progress(0, 9, 0, None, None)) == "0 of 9 sets"


def test_help_imports_nothing_heavy() -> None:
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "backtest.param_sweep", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "--where" in told.stdout
    loaded = {line.rpartition("|")[2].strip() for line in told.stderr.splitlines()}
    assert not loaded & {"numpy", "pandas", "numba", "optuna", "rich", "scipy", "distributed", "pydantic"}


def tree_bytes(pid: int) -> int:
    """What a process and all that it started have in memory, pages that they share counted once."""
    folder = Path("/proc", str(pid))
    with suppress(OSError):  # it ended meanwhile
        rollup = (folder / "smaps_rollup").read_text()
        size = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        children = [child for each in folder.glob("task/*/children") for child in each.read_text().split()]
        return 1024 * size + sum(tree_bytes(int(child)) for child in children)
    return 0


@pytest.mark.full
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the system does not tell what is shared")
@pytest.mark.parametrize(
    "how",
    [("sma_cross_v1",), ("sma_cross_kernel_v1", "--no-risk", "--pbo", "--block", "1m")],
    ids=["by events", "compiled"],
)
def test_a_memory_budget_is_kept(tmp_path: Path, how: tuple[str, ...]) -> None:
    budget = 400 * 10**6
    file = csv_of(tmp_path, bars=5_000)
    arguments = [
        *("--strategy", *how, "--symbol", ATOM, "--data", str(file), "--out", str(tmp_path)),
        *("--param", "fast=2..9", "--param", "slow=10..13", "--workers", "8", "--memory", "400MB", "--quiet"),
    ]
    sweep = subprocess.Popen(
        [sys.executable, "-m", "backtest.param_sweep", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    peak = 0
    while sweep.poll() is None:
        peak = max(peak, tree_bytes(sweep.pid))
    assert sweep.returncode == 0
    assert 0 < peak < 1.1 * budget
