"""Odd ids and symbols on the command line of a backtest: it runs, or one sentence says what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from backtest.runner import main


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """A backtest over a few bars, without its strategy and symbol."""
    rows = [f"{1_704_067_200 + 60 * n},{p},{p},{p},{p},1" for n, p in enumerate([100 + n % 7 for n in range(40)])]
    data = tmp_path / "bars.csv"
    data.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]) + "\n")
    window = ["--param", "fast=3", "--param", "slow=8", "--param", "qty=1"]
    return ["--data", str(data), "--fill", "next_open", "--no-risk", "--out", str(tmp_path / "out"), *window]


@pytest.mark.parametrize("strategy_id", ["my.strategy", "2fast", "ma cross", "../../x"])
def test_an_id_that_cannot_stand_in_a_topic_is_refused_in_a_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str], strategy_id: str
) -> None:
    sample = ["--class", "strategies.samples.sma_cross.SmaCross", "--symbol", "X/USDT"]

    status = main([*arguments, *sample, "--strategy", strategy_id])

    assert status != 0
    assert f"expected a letter followed by letters, digits, _ or -, got {strategy_id!r}" in capsys.readouterr().err


@pytest.mark.parametrize("symbol", ["BTC/USDT:USDT", "btc/usdt", "币安人生/USDT", "kPEPE/USDC:USDC"])
def test_a_symbol_of_the_right_form_runs(arguments: list[str], symbol: str) -> None:
    assert main([*arguments, "--strategy", "sma_cross_v1", "--symbol", symbol]) == 0


@pytest.mark.parametrize("symbol", ["BTCUSDT", "BTC/USDT ", "*/USDT", "BTC/USD:BTC"])
def test_a_symbol_of_another_form_is_refused_in_a_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str], symbol: str
) -> None:
    assert main([*arguments, "--strategy", "sma_cross_v1", "--symbol", symbol]) != 0
    assert "expected" in capsys.readouterr().err
