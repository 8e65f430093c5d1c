"""The runner's command line: arguments, output, files, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backtest.contracts import BacktestResult, FillTiming
from backtest.runner import main, parser
from core import codec
from core.contracts import TradeEvent
from tests.support.backtests.runs import ATOM, T0, csv_of, walk

ROOT = Path(__file__).resolve().parents[2]
BASE = ["--strategy", "sma_cross_v1", "--symbol", ATOM, "--param", "fast=3", "--param", "slow=9"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A CSV of 400 bars; its time stamps are the closes."""
    return csv_of(tmp_path)


def run(data: Path, *more: str) -> list[str]:
    return [*BASE, "--data", str(data), "--out", str(data.parent / "out"), *more]


def saved(data: Path) -> BacktestResult:
    return BacktestResult.from_dict(json.loads((data.parent / "out" / "result_sma_cross_v1_ATOMUSDT.json").read_text()))


def test_a_run_prints_its_summary_and_saves_curve_and_result(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(run(data, "--capital", "5000", "--fill", "next_open")) == 0

    printed = capsys.readouterr().out
    for line in (
        "Backtest Results: sma_cross_v1 on ATOM/USDT",
        "Initial:        $5,000.00",
        "Trades:",
        "Fingerprints:",
    ):
        assert line in printed
    assert "at the open of the bar after" in printed
    assert (
        "Data:           ATOM/USDT 1m, 400 bars, the first from 2023-12-31 23:30:00 to 2023-12-31 23:31:00" in printed
    )
    assert "; times of timestamp taken for the close of the bar (--stamp)" in printed
    assert "Parameters:     fast 3, slow 9" in printed
    curve = data.parent / "out" / "equity_sma_cross_v1_ATOMUSDT.ndjson"
    assert f"Equity curve saved to: {curve}" in printed
    points = [json.loads(line) for line in curve.read_text().splitlines()]
    assert [(point["ts_ns"], point["equity"]) for point in points] == saved(data).equity_curve
    assert len(points) == 400


def test_arguments_become_the_configuration(data: Path) -> None:
    options = "--commission 0.002 --maker-rate 0.0005 --slippage 7 --slippage-model volume --no-risk --seed 3"
    assert main(run(data, *options.split(), "--param", "allow_short=false")) == 0

    config = saved(data).config
    assert config is not None
    assert (config.commission_rate, config.maker_rate, config.slippage_bps) == (0.002, 0.0005, 7.0)
    assert (config.slippage_model, config.risk, config.seed) == ("volume", False, 3)
    assert config.params == {"fast": 3, "slow": 9, "allow_short": False}
    assert config.fill_timing is FillTiming.BAR_CLOSE


def test_days_are_utc_and_the_last_one_is_included(data: Path) -> None:
    assert main(run(data, "--start", "2023-12-31", "--end", "2023-12-31")) == 0
    config = saved(data).config
    assert config is not None
    assert (config.start_ts, config.end_ts) == (T0 - 86_400_000_000_000, T0)
    assert saved(data).bars == 30

    assert main(run(data, "--start", "2024-01-01T01:00+01:00", "--end", "2024-01-01T00:10")) == 0
    assert saved(data).bars == 10


def test_json_is_the_whole_result(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(run(data, "--json")) == 0

    plain: dict[str, Any] = json.loads(capsys.readouterr().out)
    files = plain.pop("files")
    assert BacktestResult.from_dict(plain) == saved(data)
    assert Path(files["equity"]).is_file()


def test_a_class_by_its_path_needs_no_registration(data: Path) -> None:
    arguments = run(data, "--class", "strategies.samples.sma_cross.SmaCross")

    assert main(arguments) == 0


def test_steps_can_be_given_instead_of_an_instrument(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = [*(each if each != ATOM else "XYZ/USDT" for each in run(data)), "--tick-size", "0.01", "--lot-size", "0.5"]
    assert main(other) == 0

    assert "no instrument configured" not in capsys.readouterr().out


def test_bars_come_from_journals_and_longer_ones_are_made_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = tmp_path / "ohlcv.1m.ATOMUSDT.ndjson"
    journal.write_bytes(b"".join(codec.encode(bar) + b"\n" for bar in walk(8, 120, gap=0.0).events))

    arguments = [*BASE, "--journals", str(tmp_path), "--out", str(tmp_path / "out"), "--timeframe", "5m,1m"]
    assert main(arguments) == 1
    assert "expected one timeframe, 1m as before, got 5m too" in capsys.readouterr().err
    assert main([*arguments, "--events", "md.ohlcv.15m.*"]) == 1
    assert "--events are md.ohlcv.15m.*, expected one that this run gives: md.ohlcv.1m.ATOM/USDT" in (
        capsys.readouterr().err
    )
    assert main([*arguments, "--events", "md.ohlcv.5m.*"]) == 0
    assert "Hears:          md.ohlcv.5m.*" in capsys.readouterr().out

    plain = json.loads((tmp_path / "out" / "result_sma_cross_v1_ATOMUSDT.json").read_text())
    assert plain["config"]["timeframes"] == ["1m", "5m"]
    assert plain["bars"] == 120 + 24


def test_trades_come_from_journals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = tmp_path / "md.trades.ATOMUSDT.ndjson"
    trades = [TradeEvent(ATOM, 9 + n % 7 / 100, 1.0, "buy", T0 + n * 10**10, trade_id=str(n)) for n in range(200)]
    journal.write_bytes(b"".join(codec.encode(trade) + b"\n" for trade in trades))

    arguments = [*BASE, "--journals", str(tmp_path), "--out", str(tmp_path / "out"), "--fill", "next_trade"]
    assert main([*arguments, "--latency-ms", "50"]) == 0

    assert "at the first trade after a latency of 50 ms, in full at its price (last_trade)" in capsys.readouterr().out
    flow = [*arguments, "--fill-model", "trade_flow", "--participation", "0.25"]
    assert main(flow) == 0
    assert "at the first trade after the decision, from the volume that trades (trade_flow), of which at most 25 %" in (
        capsys.readouterr().out
    )


def test_with_trades_as_input_a_configured_strategy_hears_what_it_hears_live(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = tmp_path / "md.trades.ATOMUSDT.ndjson"
    trades = [TradeEvent(ATOM, 9.0, 1.0, "buy", T0 + n * 10**10, trade_id=str(n)) for n in range(20)]
    journal.write_bytes(b"".join(codec.encode(trade) + b"\n" for trade in trades))
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "base.yaml").write_text(
        "app: {env: paper}\ninstruments: {ATOM/USDT: {tick_size: 0.001, lot_size: 0.01}}\n"
    )
    (tmp_path / "config" / "strategies.yaml").write_text(
        "strategies: [{id: sma_cross_v1, class: strategies.samples.sma_cross.SmaCross, symbols: [ATOM/USDT], "
        "events: ['md.ohlcv.5m.*']}]\n"
    )
    arguments = [*BASE, "--journals", str(tmp_path), "--out", str(tmp_path / "out"), "--config-root", str(tmp_path)]

    assert main([*arguments, "--fill", "next_trade"]) == 1
    assert "its `events` are md.ohlcv.5m.*, expected one that this run gives" in capsys.readouterr().err
    assert main([*arguments, "--fill", "next_trade", "--timeframe", "1m,5m"]) == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--param", "slow=2"], "expected less than slow, 2, got 3"),
        (["--param", "quick=2"], "contains unknown field"),
        (["--capital", "0"], "BacktestConfig.initial_capital: expected a number above 0"),
        (["--start", "2031-01-01"], "expected bars from 2031-01-01 00:00:00 to the end"),
        (["--timeframe", "7x"], "timeframe: expected <n><s|m|h|d|w>"),
        (["--class", "no.such.Strategy"], "cannot import no.such"),
        (["--data", "second.csv"], "--data: expected one file for each --symbol, got 2 for 1"),
        (["--fill", "next_trade"], "--fill next_trade: expected trades"),
    ],
)
def test_what_cannot_be_run_is_one_sentence_and_exit_code_1(
    data: Path, capsys: pytest.CaptureFixture[str], options: list[str], expected: str
) -> None:
    assert main(run(data, *options)) == 1

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("backtest: ")
    assert expected in captured.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [*BASE, "--start", "yesterday"],
        [*BASE, "--param", "fast"],
        [*BASE, "--fill", "soon"],
        [*BASE, "--tick-size", "0"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(arguments)

    assert ended.value.code == 2
    assert "usage: python -m backtest.runner" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys, contextlib\nfrom backtest.runner import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        "heavy = {'numpy', 'pandas', 'pydantic', 'msgspec', 'numba', 'plotly'} & set(sys.modules)\n"
        "sys.exit(str(sorted(heavy)) if heavy else 0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=environment)

    assert (done.returncode, done.stderr) == (0, "")
    assert "--fill" in done.stdout


@pytest.mark.parametrize("option", [("--latency-ms", "50"), ("--fill-model", "trade_flow")])
def test_what_only_trades_know_is_not_asked_of_bars_in_vain(
    data: Path, capsys: pytest.CaptureFixture[str], option: tuple[str, str]
) -> None:
    assert main(run(data, *option)) == 1
    assert f"{option[0]}: expected --fill next_trade with it" in capsys.readouterr().err


def test_journals_need_no_word_on_what_their_times_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BASE, "--journals", str(tmp_path), "--stamp", "open"]) == 1
    assert "--stamp open: expected --data with it" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", " ,"])
def test_a_strategy_that_is_to_hear_nothing_is_refused(
    data: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    with pytest.raises(SystemExit):
        main(run(data, f"--events={text}"))
    assert "expected topics such as md.ohlcv.5m.*" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "soon"])
def test_a_latency_is_a_number_of_milliseconds(data: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    with pytest.raises(SystemExit):
        main(run(data, f"--latency-ms={text}"))
    assert "milliseconds" in capsys.readouterr().err


def test_capital_without_end_is_refused_in_a_sentence(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(run(data, "--capital", "inf")) == 1
    assert "initial_capital: expected a number above 0, got inf" in capsys.readouterr().err


@pytest.mark.parametrize("strategy_id", ["my.strategy", "2fast", "ma cross", "../../x", ""])
def test_an_id_that_no_configuration_could_have_is_refused_in_a_sentence(
    data: Path, capsys: pytest.CaptureFixture[str], strategy_id: str
) -> None:
    sample = ["--class", "strategies.samples.sma_cross.SmaCross", "--strategy", strategy_id]

    assert main(run(data, *sample)) == 1

    error = capsys.readouterr().err
    assert f"strategy {strategy_id!r}: id: expected a letter followed by letters, digits, _ or -" in error
    assert not (data.parent / "out").exists()


@pytest.mark.parametrize("symbol", ["BTCUSDT", "BTC/USDT ", "*/USDT"])
def test_a_symbol_that_no_configuration_could_have_is_refused_in_a_sentence(
    data: Path, capsys: pytest.CaptureFixture[str], symbol: str
) -> None:
    assert main(["--strategy", "sma_cross_v1", "--symbol", symbol, "--data", str(data)]) == 1

    error = capsys.readouterr().err
    assert "symbol: expected BASE/QUOTE such as BTC/USDT" in error
    assert f"got {symbol!r}" in error


@pytest.mark.parametrize("symbol", ["BTC/USDT:USDT", "btc/usdt", "币安人生/USDT", "kPEPE/USDC:USDC"])
def test_a_symbol_as_a_venue_calls_it_runs(data: Path, symbol: str) -> None:
    arguments = [symbol if argument == "ATOM/USDT" else argument for argument in run(data)]
    assert main(arguments) == 0


def test_a_quantity_that_a_guessed_lot_would_cut_is_refused_and_traded_once_the_lot_is_given(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [line.rsplit(",", 1)[0] for line in data.read_text().splitlines()]
    data.write_text("\n".join([f"{rows[0]},volume", *(f"{row},27225333695" for row in rows[1:])]) + "\n")

    out = data.parent / "out"
    command = "--strategy sma_cross_v1 --symbol NEW/USDT --param fast=3 --param slow=9 --param qty=2.9 --no-risk"
    unknown = [*command.split(), "--data", str(data), "--out", str(out)]

    assert main(unknown) == 1
    assert "NEW/USDT: expected a quantity in lots of 1, got 2.9" in capsys.readouterr().err

    assert main([*unknown, "--lot-size", "0.1"]) == 0
    plain = json.loads((out / "result_sma_cross_v1_NEWUSDT.json").read_text())
    assert plain["fills"][0]["qty"] == 2.9


def test_stamps_are_said_once_or_for_each_file(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = [*run(data, "--symbol", "B/USDT", "--data", str(data)), "--no-risk"]

    assert main([*two, "--stamp", "open", "--stamp", "close", "--stamp", "close"]) == 1
    assert "--stamp: expected one for all files, or one for each of 2, got 3" in capsys.readouterr().err

    assert main([*two, "--stamp", "open", "--stamp", "close"]) == 0
    printed = capsys.readouterr().out
    assert "ATOM/USDT 1m, 400 bars, the first from 2023-12-31 23:31:00 to" in printed
    assert "B/USDT 1m, 400 bars, the first from 2023-12-31 23:30:00 to" in printed


def test_a_window_that_misses_its_last_minute_fills_where_the_full_one_does(tmp_path: Path) -> None:
    prices = {}
    for name, missing in (("full", ()), ("gap", (4,))):
        file = tmp_path / f"{name}.csv"
        rows = [
            f"2024-01-01T00:{at:02d}:00Z,{100 + at},{101 + at},{99 + at},{100.5 + at},1"
            for at in range(20)
            if at not in missing
        ]
        file.write_text("\n".join(["ts_open,open,high,low,close,volume", *rows]) + "\n")
        command = "--strategy buy_hold_v1 --symbol X/USDT --timeframe 1m,5m --events md.ohlcv.5m.* --fill next_open"
        assert main([*command.split(), "--no-risk", "--data", str(file), "--out", str(tmp_path / name)]) == 0
        plain = json.loads((tmp_path / name / "result_buy_hold_v1_XUSDT.json").read_text())
        prices[name] = plain["fills"][0]["price"]

    assert prices == {"full": 105.0, "gap": 105.0}
