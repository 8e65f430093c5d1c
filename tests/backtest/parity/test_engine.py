"""A session of the paper fleet and the event engine on its journals come to the same, to the last decimal."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from backtest.parity.compare import Comparison, Kind, compare, read_event_log, session_event_log
from backtest.parity.engine import engine_event_log
from backtest.runner import main as run_backtest
from controller.cli import main as diff
from controller.terminal import Exit
from tests.conftest import ROOT
from tests.support import captures
from tests.support.backtests.parity_sessions import (
    FEED,
    Recorded,
    configured,
    late_and_lost,
    nervous,
    pulling_the_switch,
    recorded,
    shipped,
)

EVERYTHING = ["md.trades.*", "md.ohlcv.*", "md.clock", "md.book.*"]


def held_against_the_engine(run: Recorded) -> Comparison:
    return compare(session_event_log(run.folder, run.config), engine_event_log(run.folder, run.config))


def assert_no_difference(run: Recorded, *, fills: int = 20) -> Comparison:
    found = held_against_the_engine(run)
    assert found.differences == ()
    assert found.equal
    assert found.pnl_a == found.pnl_b
    assert found.volume_a == found.volume_b
    assert found.volume_a.fills > fills
    return found


@pytest.mark.parametrize("participation", [1.0, 0.5, 0.2])
def test_market_and_limit_orders_come_to_the_same_whatever_share_of_a_trade_they_get(
    participation: float, tmp_path: Path
) -> None:
    found = assert_no_difference(recorded(tmp_path, paper__participation=participation))

    assert found.remarks == ()
    assert found.volume_a.denied > 0


def test_the_simple_fill_model_fills_at_the_price_of_the_decision_in_both(tmp_path: Path) -> None:
    assert_no_difference(recorded(tmp_path, paper__fill_model="last_trade"))


def test_fees_of_each_instruments_own_are_charged_in_both(tmp_path: Path) -> None:
    instruments = configured(tmp_path / "draft").model_dump(by_alias=True)["instruments"]
    instruments["ETH/USDT"] |= {"maker_fee": Decimal("0.0004"), "taker_fee": Decimal("0.0007")}

    assert_no_difference(recorded(tmp_path / "run", instruments=instruments))


@pytest.mark.full
@pytest.mark.parametrize("feed", ["synthetic:7:45", "synthetic:11:30"])
def test_the_shipped_strategies_on_trades_and_on_bars_come_to_the_same(feed: str, tmp_path: Path) -> None:
    assert_no_difference(shipped(tmp_path, ROOT, feed))


@pytest.mark.full
def test_the_recorded_captures_of_both_symbols_come_to_the_same(recorded_data: Path, tmp_path: Path) -> None:
    run = recorded(tmp_path, captures.feed_of(captures.recorded(recorded_data)))

    assert_no_difference(run, fills=1_000)


@pytest.mark.full
def test_strategies_that_answer_whatever_they_hear_come_to_the_same(tmp_path: Path) -> None:
    """Fills, updates, denials, cancels, bars, books and the clock: told in another order, one of them would differ."""
    strategies = nervous(
        ("z_trades", "BTC/USDT", ["md.trades.*"]),
        ("a_trades", "BTC/USDT", ["md.trades.*"]),  # orders with the one before, which is first in the queue
        ("bars", "BTC/USDT", ["md.ohlcv.1m.*"]),
        ("clock", "ETH/USDT", ["md.clock"]),
        ("books", "ETH/USDT", ["md.book.*"]),
        ("everything", "BTC/USDT", EVERYTHING),
    )
    run = recorded(tmp_path, "synthetic:5:12", strategies=strategies)

    found = assert_no_difference(run, fills=150)

    histories = session_event_log(run.folder, run.config).histories
    assert {history.intent.strategy_id for history in histories if history.fills} == {each["id"] for each in strategies}
    assert sum(history.cancel is not None for history in histories) > 20
    assert found.volume_a.intents > found.volume_a.allowed


@pytest.mark.full
def test_kernel_strategies_come_to_the_same(tmp_path: Path) -> None:
    entries = [
        {
            "id": "kernel", "class": "strategies.kernels.sma_cross.SmaCross", "symbols": ["BTC/USDT"],
            "events": ["md.ohlcv.1m.*"], "params": {"fast": 2, "slow": 5, "qty": 0.03},
        }
    ]  # fmt: skip
    assert_no_difference(recorded(tmp_path, "synthetic:7:60", strategies=entries), fills=3)


@pytest.mark.full
def test_trades_that_came_late_or_never_are_taken_as_the_fleet_took_them(tmp_path: Path) -> None:
    strategies = nervous(("a", "BTC/USDT", EVERYTHING), ("b", "ETH/USDT", ["md.trades.*", "md.ohlcv.*"]))
    run = recorded(tmp_path / "run", list(late_and_lost(4, tmp_path / "draft")), strategies=strategies)

    assert_no_difference(run, fills=100)


@pytest.mark.parametrize(("after", "denials"), [(1, 1), (10, 5)])
def test_the_kill_switch_reaches_the_engine_where_it_was_pulled(
    after: int, denials: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.fleet.session.CHECK_EVERY_S", 0.0)
    switch = configured(tmp_path).kill_switch_file
    run = recorded(tmp_path, observer=pulling_the_switch(switch, after, denials))
    assert run.session.interventions == 2

    found = assert_no_difference(run)

    assert found.volume_a.denied >= denials


@pytest.mark.full
@pytest.mark.parametrize("name", ["btc_market", "btc_limit", "eth_limit"])
def test_a_backtest_from_the_command_line_on_a_sessions_trades_has_its_orders_fills_and_profit(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a user does it: no more than the session's journals and configuration, and the rules of its fills."""
    run, result = session_and_backtest(name, tmp_path, "--participation", "0.5")

    found = compare(session_event_log(run.folder, run.config), read_event_log(result, run.config))

    assert found.differences == ()
    assert found.pnl_a == found.pnl_b
    assert found.volume_a.fills > 5
    assert diff(["diff", str(run.folder), str(result), "--config-root", str(run.config.root)]) == Exit.DONE
    assert "rules differ" not in capsys.readouterr().out


@pytest.mark.full
def test_so_has_one_on_bars_to_the_second_in_which_the_clock_closes_a_bar_where_nothing_trades(tmp_path: Path) -> None:
    """Trades alone do not tell which event of that second the fleet heard first."""
    run, result = session_and_backtest("kernel", tmp_path, "--participation", "0.5")

    found = compare(session_event_log(run.folder, run.config), read_event_log(result, run.config))

    assert {(each.kind, each.subject, each.pnl) for each in found.differences} <= {(Kind.TIMING, "ordered", 0)}
    assert all(abs(float(each.b.split()[0])) < 1_000 for each in found.differences)
    assert found.pnl_a == found.pnl_b
    assert (found.volume_a.fills, found.volume_a.denied) == (found.volume_b.fills, found.volume_b.denied)
    assert found.volume_a.fills > 5


def test_diff_names_the_rules_in_which_a_backtest_differs_from_a_session(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = ["--latency-ms", "40", "--commission", "0.0012", "--param", "lookback_periods=6", "--no-risk"]
    run, result = session_and_backtest("btc_market", tmp_path, *changed)

    for pair in ([run.folder, result], [result, run.folder]):
        capsys.readouterr()
        assert diff(["diff", *map(str, pair), "--json", "--config-root", str(run.config.root)]) == Exit.BAD
        remark = json.loads(capsys.readouterr().out)["remarks"][0]
        assert remark.removeprefix("A").removeprefix("B") == (
            "'s rules differ from the session's configuration in participation 0.5 → 1, latency 0 → 40 ms, taker fee "
            "of BTC/USDT 0.001 → 0.0012, maker fee of BTC/USDT 0.001 → 0.0012, params.lookback_periods 5 → 6, risk "
            "engine True → False"
        )


def session_and_backtest(name: str, into: Path, *options: str) -> tuple[Recorded, Path]:
    """A session of one strategy alone, and the file of the runner's backtest of it on the session's trades."""
    kernel = {
        "id": "kernel", "class": "strategies.kernels.sma_cross.SmaCross", "symbols": ["BTC/USDT"],
        "events": ["md.ohlcv.1m.*"], "params": {"fast": 2, "slow": 5, "qty": 0.03},
    }  # fmt: skip
    entries = [*configured(into / "draft").model_dump(by_alias=True)["strategies"], kernel]
    entry = next(each for each in entries if each["id"] == name)
    run = recorded(into / "run", "synthetic:7:60" if name == "kernel" else FEED, strategies=[entry])
    (run.config.root / "config" / "strategies.yaml").write_text(json.dumps({"strategies": [entry]}, default=str))
    code = run_backtest(
        [
            "--strategy", name, "--symbol", entry["symbols"][0], "--journals", str(run.folder / "journals"),
            "--fill", "next_trade", "--fill-model", "trade_flow", "--out", str(into / "out"),
            "--config-root", str(run.config.root), *options,
        ]
    )  # fmt: skip
    assert code == 0
    (result,) = (into / "out").glob("result_*.json")
    return run, result


@pytest.mark.full
def test_beside_a_backtest_a_session_counts_as_far_as_the_strategy_that_was_tested(
    full: Recorded, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, result = session_and_backtest("btc_market", tmp_path, "--participation", "0.5")
    capsys.readouterr()

    diff(["diff", str(full.folder), str(result), "--json", "--config-root", str(full.config.root)])

    found = json.loads(capsys.readouterr().out)
    assert {each["strategy_id"] for each in found["differences"]} <= {"btc_market"}
    assert any("left out btc_limit, btc_too_large, eth_limit, eth_market" in each for each in found["remarks"])


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A session of all busy strategies."""
    return recorded(tmp_path_factory.mktemp("full"))
