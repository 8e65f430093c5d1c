"""``njord-ctl`` runs the backtester's command lines: the same options, answers and exit statuses under another name."""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from backtest import runner
from backtest.lint import command as lint
from backtest.lookahead import command as honesty
from backtest.sweep import command as sweep_command
from controller.cli import main as ctl

ROOT: Final = Path(__file__).resolve().parents[2]
MODULES: Final[dict[str, tuple[Callable[[list[str]], int], Callable[[], argparse.ArgumentParser]]]] = {
    "backtest": (runner.main, runner.parser),
    "sweep": (sweep_command.main, sweep_command.parser),
    "lint-backtest": (lint.main, lint.parser),
    "honesty": (honesty.main, honesty.parser),
}
START: Final = 1_640_995_200_000_000_000
MINUTE: Final = 60_000_000_000


@pytest.fixture
def run_of(tmp_path: Path) -> list[str]:
    """The options of a run over a few hundred bars that go up and down."""
    rows = ["timestamp,open,high,low,close,volume"]
    for minute in range(600):
        price = 100 + (minute % 40 if minute % 80 < 40 else 40 - minute % 40)
        rows.append(f"{START + MINUTE * (minute + 1)},{price},{price + 1},{price - 1},{price},10")
    file = tmp_path / "bars.csv.gz"
    file.write_bytes(gzip.compress("\n".join(rows).encode()))
    return ["--strategy", "sma_cross_v1", "--symbol", "BTC/USD", "--data", str(file), "--param", "fast=3",
            "--param", "slow=8", "--fill", "next_open", "--no-risk", "--out", str(tmp_path / "out")]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_help_is_that_of_the_module_under_the_name_that_was_typed(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    grammar = MODULES[name][1]()
    options = {option for action in grammar._actions for option in action.option_strings}
    assert ctl([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: njord-ctl {name} ")
    assert all(option in said for option in options)
    assert "python -m" not in said


@pytest.mark.parametrize("name", MODULES)
def test_help_imports_nothing_heavy(name: str) -> None:
    heavy = "{'numpy', 'pandas', 'numba', 'scipy', 'plotly', 'optuna', 'msgspec', 'asyncio', 'distributed'}"
    probe = (
        f"import sys; from controller.cli import main; main([{name!r}, '--help']); print(*({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize("name", MODULES)
def test_wrong_usage_ends_with_2_under_the_name_that_was_typed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl([name, "--no-such-option"]) == 2
    assert f"njord-ctl {name}: error: " in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        MODULES[name][0](["--no-such-option"])


@pytest.mark.parametrize("name", ["backtest", "sweep", "honesty"])
def test_what_cannot_be_done_ends_alike_both_ways(
    name: str, run_of: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {"sma_cross_v1": "no_such_v1", "fast=3": "fast=3,4" if name == "sweep" else "fast=3"}
    wrong = [changed.get(word, word) for word in run_of]
    assert ctl([name, *wrong]) == 1
    said = capsys.readouterr().err
    assert "unknown strategy: 'no_such_v1'" in said
    assert MODULES[name][0](wrong) == 1
    assert capsys.readouterr().err == said


def test_a_run_answers_in_json_alike_both_ways(run_of: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl(["backtest", *run_of, "--json"]) == 0
    typed = json.loads(capsys.readouterr().out)
    assert runner.main([*run_of, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == typed
    assert typed["num_trades"] > 0


def test_a_leak_and_a_strict_finding_are_bad_news_both_ways(
    run_of: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ctl(["backtest", *run_of]) == 0
    result = str(tmp_path / "out" / "result_sma_cross_v1_BTCUSD.json")
    capsys.readouterr()
    assert ctl(["lint-backtest", result, "--strict", "--json"]) == 4
    typed = capsys.readouterr().out
    assert lint.main([result, "--strict", "--json"]) == 4
    assert capsys.readouterr().out == typed
    assert ctl(["honesty", *run_of, "--cuts", "3", "--starts", "2"]) == 0


def test_a_kernel_is_found_by_its_id_in_a_single_run_too(run_of: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    kernel = ["sma_cross_kernel_v1" if word == "sma_cross_v1" else word for word in run_of]
    assert ctl(["backtest", *kernel]) == 0
    assert "Backtest Results: sma_cross_kernel_v1 on BTC/USD" in capsys.readouterr().out


def test_an_interrupted_run_ends_with_130_and_a_word(
    run_of: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(chosen: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "_run", interrupted)
    assert ctl(["backtest", *run_of]) == 130
    assert capsys.readouterr().err == "backtest: interrupted\n"


def test_a_verdict_from_few_decisions_says_so_and_none_is_given_from_nothing(
    run_of: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for end, verdict in (
        ("00:03", "unknown: it decided nothing"),
        ("02:00", "honest, as far as"),
        ("10:00", "honest\n"),
    ):
        assert ctl(["honesty", *run_of, "--cuts", "3", "--starts", "1", "--end", f"2022-01-01T{end}"]) == 0
        assert f"Verdict:        {verdict}" in capsys.readouterr().out


@pytest.mark.full
@pytest.mark.parametrize("entrance", [["controller", "backtest"], ["backtest.runner"]])
def test_a_reader_that_went_away_gets_no_complaint(entrance: list[str], run_of: list[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", *entrance, *run_of, "--json"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1
