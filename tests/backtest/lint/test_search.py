"""The lint rules on a search: worthless sets are called luck, a true edge is left alone, a sweep's files are read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from backtest.contracts import BacktestConfig, BacktestResult
from backtest.data.series import BarSeries, from_file
from backtest.lint.command import lint, lint_search, main
from backtest.lint.finding import Finding, Severity
from backtest.lint.rules import RULES, SEARCH_RULES
from backtest.lint.search import Search, ends_told_by, market_returns
from backtest.lint.search_file import read_search
from backtest.sweep import command as sweep_command
from backtest.sweep import setup as sweep_setup
from backtest.sweep.running.memory import resident_bytes
from core.errors import ConfigError

Floats = npt.NDArray[np.float64]
DAY: Final = 86_400_000_000_000
HOUR: Final = DAY // 24
MINUTE: Final = HOUR // 60
START: Final = 1_640_995_200_000_000_000
DAYS: Final = 250


def worthless(sets: int = 100, days: int = DAYS, seed: int = 1) -> Floats:
    """Returns of sets without any edge, each on its own."""
    drawn: Floats = np.random.default_rng(seed).normal(0.0, 0.01, (days, sets))
    return drawn


def with_edge(sets: int = 100) -> Floats:
    """The same, the middle set with a Sharpe ratio of 0.4 a day."""
    returns = worthless(sets)
    returns[:, sets // 2] += 0.004 - returns[:, sets // 2].mean()
    return returns


def search(returns: Floats | None = None, **known: Any) -> Search:
    """Of sets 0, 1, 2, … whose figures follow from the returns; the one with the best Sharpe ratio was chosen."""
    made = worthless() if returns is None else returns
    sharpe = made.mean(axis=0) / np.maximum(made.std(axis=0), 1e-12)
    table = pd.DataFrame(
        {
            "fast": range(made.shape[1]),
            "sharpe_ratio": sharpe,
            "deflated_sharpe": 0.99,
            "total_return_pct": 100 * made.sum(axis=0),
        }
    )
    given: dict[str, Any] = {"returns": made, "trials": made.shape[1], "symbol": "BTC/USD", **known}
    return Search(table, ["fast"], int(sharpe.argmax()), **given)


def found(rule: str, of: Search) -> list[Finding]:
    return [finding for finding in lint_search(of) if finding.rule == rule]


def one(rule: str, of: Search) -> Finding:
    (finding,) = found(rule, of)
    assert finding.advice
    return finding


def test_every_rule_bears_a_name_of_its_own_and_says_what_it_looks_at() -> None:
    names = [rule.__name__ for rule in (*RULES, *SEARCH_RULES)]
    assert len(set(names)) == len(names)
    assert all(rule.__doc__ for rule in SEARCH_RULES)


def test_the_best_of_worthless_sets_is_luck_in_words_that_need_no_textbook() -> None:
    finding = one("snooped", search())
    assert finding.severity is Severity.SERIOUS
    assert finding.value > 0.1
    often = f"{100 * finding.value:.0f}"
    assert finding.text.startswith(
        f"After trying 100 sets, a best one as good as this is what luck alone gives in {often} of 100 tries"
    )
    assert f"Hansen's SPA test p = {finding.value:.3f}, White's reality check p = 0." in finding.text


def test_a_true_edge_among_worthless_sets_is_left_alone() -> None:
    edge = search(with_edge(), market=worthless(1, seed=9)[:, 0])
    assert {finding.rule for finding in lint_search(edge)} == {"lonely_peak"}


def test_the_same_search_is_always_told_the_same() -> None:
    assert lint_search(search()) == lint_search(search())


def test_earlier_searches_make_it_worse() -> None:
    assert "1,000 were tried in all, which makes it worse" in one("snooped", search(trials=1_000)).text


def test_what_the_halves_choose_is_held_against_the_other_halves() -> None:
    finding = one("overfitted", search())
    assert finding.value > 0.2
    assert f"in {100 * finding.value:.0f} of 100 ways to halve it" in finding.text
    assert "loses money there in" in finding.text
    assert not found("overfitted", search(with_edge()))


@pytest.mark.parametrize(("pbo", "severity"), [(0.05, None), (0.06, Severity.WARNING), (0.5, Severity.SERIOUS)])
def test_the_bounds_are_those_of_the_paper(pbo: float, severity: Severity | None) -> None:
    said = found("overfitted", search(pbo=pbo, loss=0.4))
    assert [finding.severity for finding in said] == ([] if severity is None else [severity])


def test_a_deflated_sharpe_ratio_below_95_percent_is_luck() -> None:
    lucky = search()
    lucky.table["deflated_sharpe"] = 0.37
    finding = one("luck", lucky)
    assert "After 100 sets tried on this data, the confidence that the best one has any edge is 37%" in finding.text
    assert finding.severity is Severity.SERIOUS


def test_a_search_that_lost_throughout_is_told_so_and_not_that_it_was_lucky() -> None:
    rules = {finding.rule for finding in lint_search(search(worthless() - 0.02))}
    assert "none_gained" in rules
    assert not rules & {"luck", "snooped"}


def test_holding_is_compared_at_the_same_volatility() -> None:
    market = worthless(1, seed=4)[:, 0] + 0.002
    smaller = np.column_stack([market * size for size in (0.1, 0.5, 2.0)]) + worthless(3) * 1e-3 - 1e-5
    assert (
        "not one of the sets did better than buying BTC/USD"
        in one("no_better_than_holding", search(smaller - 5e-4 * np.array([0.1, 0.5, 2.0]), market=market)).text
    )
    lucky = one("no_better_than_holding", search(worthless(), market=worthless(1, seed=4)[:, 0]))
    assert lucky.severity is Severity.INFO
    assert not found("no_better_than_holding", search(with_edge(), market=worthless(1, seed=4)[:, 0]))


def test_a_set_that_never_traded_is_no_obstacle() -> None:
    idle = np.column_stack([worthless(20), np.zeros(DAYS)])
    assert one("snooped", search(idle, market=worthless(1, seed=4)[:, 0]))


def test_without_returns_it_is_said_how_to_get_them() -> None:
    finding = one("returns_missing", replace(search(), returns=None))
    assert "kept no returns" in finding.text
    assert "--pbo" in finding.advice
    short = one("returns_missing", search(worthless(days=9)))
    assert "only 9 returns" in short.text
    assert "--block" in short.advice


def five_days() -> BarSeries:
    """Hours of which each closes 1 higher."""
    ts_open = START + np.arange(5 * 24, dtype=np.int64) * HOUR
    close = 100.0 + np.arange(5 * 24).astype(np.float64)
    return BarSeries("BTC/USD", "1h", ts_open, ts_open + HOUR, close - 1, close + 1, close - 2, close, close)


def test_the_market_is_measured_where_the_sweep_measured() -> None:
    series, days = [five_days()], START + DAY * np.arange(1, 6, dtype=np.int64)
    daily = market_returns(series, days)
    coarse = market_returns(series, days[::2])
    assert daily is not None
    assert coarse is not None
    assert (1 + daily).tolist() == pytest.approx([123 / 99, 147 / 123, 171 / 147, 195 / 171, 219 / 195])
    assert (1 + coarse).tolist() == pytest.approx([123 / 99, 171 / 123, 219 / 171])


def test_a_market_of_another_time_is_none() -> None:
    series, days = five_days(), START + DAY * np.arange(1, 6, dtype=np.int64)
    assert market_returns([], days) is None
    assert market_returns([series], days[:0]) is None
    assert market_returns([series.between(START + DAY + HOUR, 0)], days) is None
    assert market_returns([series.between(0, START + 4 * DAY)], days) is None
    assert market_returns([series], days[2:]) is None
    assert market_returns([series.between(START + 2 * HOUR, START + 4 * DAY + HOUR)], days) is not None


def test_an_older_file_tells_where_its_returns_end_by_how_many_there_are() -> None:
    daily, hourly = ends_told_by([five_days()], 5), ends_told_by([five_days()], 120)
    assert daily is not None
    assert hourly is not None
    assert (int(daily[0]), int(hourly[0])) == (START + DAY, START + HOUR)
    assert ends_told_by([five_days()], 6) is None
    assert ends_told_by([], 5) is None


# -- the files of a sweep -------------------------------------------------------------------------------------


def sweep_of(bars: Path, out: Path) -> list[str]:
    """The options of a sweep of nine sets, of which three fail."""
    return ["--strategy", "sma_cross_v1", "--symbol", "BTC/USD", "--data", str(bars), "--param", "fast=2,3,4",
            "--param", "slow=6,8,x", "--fill", "next_open", "--no-risk", "--pbo", "--workers", "0", "--quiet",
            "--commission", "0", "--out", str(out)]  # fmt: skip


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A sweep's summary, with kept returns, and the bars that it ran on."""
    folder = tmp_path_factory.mktemp("swept")
    steps = np.random.default_rng(2).normal(0.0, 1.0, 600)
    close = np.round(1_000 + np.cumsum(steps), 1)
    frame = pd.DataFrame({"timestamp": START + MINUTE * np.arange(1, 601), "open": close, "high": close + 1})
    frame = frame.assign(low=close - 1, close=close, volume=5.0)
    bars = folder / "bars.csv"
    frame.to_csv(bars, index=False)
    assert sweep_command.main(sweep_of(bars, folder / "out")) == 0
    return folder / "out" / "sweep_results.json", bars


def test_a_sweep_is_read_with_its_kept_returns_and_without_the_sets_that_failed(swept: tuple[Path, Path]) -> None:
    read = read_search(swept[0], ())
    assert (read.sets, read.trials, list(read.names)) == (9, 6, ["fast", "slow"])
    assert read.returns is not None
    assert read.returns.shape == (600, 6)
    moved = swept[0].rename(swept[0].with_name("another.json"))
    assert read_search(moved, ()).returns is not None
    moved.rename(swept[0])


def test_a_sweep_tells_where_its_returns_are_and_end(swept: tuple[Path, Path]) -> None:
    summary = json.loads(swept[0].read_text())["summary"]
    assert summary["ends_ns"] == [START + MINUTE * minute for minute in range(1, 601)]
    assert Path(summary["files"]["returns"]).stat().st_size == 4 * 9 * 600


def test_the_file_of_an_earlier_version_is_read_as_well(swept: tuple[Path, Path], tmp_path: Path) -> None:
    plain = json.loads(swept[0].read_text())
    del plain["summary"]["ends_ns"], plain["summary"]["files"]["returns"]
    file = tmp_path / "sweep_results.json"
    file.write_text(json.dumps(plain))
    bars = [from_file(swept[1], "BTC/USD", "1m")]
    old, new = read_search(file, (), bars), read_search(swept[0], (), bars)
    assert old.market is not None
    assert new.market is not None
    assert old.market.tolist() == new.market.tolist()


def test_holding_is_compared_also_where_a_memory_budget_made_blocks_coarser(
    swept: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweep_setup, "_PER_RETURN", 10**9)  # as many sets would have it
    assert sweep_command.main([*sweep_of(swept[1], tmp_path), "--memory", str(resident_bytes() + 10**9)]) == 0
    assert "; 32 returns a set are kept instead of 600, so that the memory holds them" in capsys.readouterr().out
    read = read_search(tmp_path / "sweep_results.json", (), [from_file(swept[1], "BTC/USD", "1m")])
    assert read.returns is not None
    assert read.market is not None
    assert read.returns.shape == (32, 6)
    assert read.market.shape == (32,)


def test_a_sweep_is_linted_from_the_command_line(swept: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(swept[0]), "--bars", str(swept[1]), "--json", "--strict"]) == 4
    rules = {finding["rule"] for finding in json.loads(capsys.readouterr().out)}
    assert rules & {"none_gained", "snooped", "luck"}
    assert "no_better_than_holding" in rules
    assert "returns_missing" not in rules


def test_a_result_is_linted_with_the_sweep_that_its_parameters_came_from(
    swept: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from backtest import runner

    assert runner.main(
        ["--strategy", "sma_cross_v1", "--symbol", "BTC/USD", "--data", str(swept[1]), "--param", "fast=2",
         "--param", "slow=8", "--fill", "next_open", "--no-risk", "--out", str(tmp_path)]
    ) == 0  # fmt: skip
    result = next(tmp_path.glob("result_*.json"))
    capsys.readouterr()
    assert main([str(result), "--bars", str(swept[1]), "--sweep", str(swept[0])]) == 0
    printed = capsys.readouterr().out
    assert "[no_better_than_holding]" in printed
    assert "fast = 2 is the smallest value" in printed


def test_a_search_that_never_tried_the_set_says_nothing_about_it() -> None:
    result = BacktestResult("sma", "BTC/USD", 0, 0, 1e4, 1e4, 0.0, 0.0, 0.0, 0, 0.0, 0.0, [])
    config = BacktestConfig("BTC/USD", "sma", 0, 0, 1e4, 0.001, 0.0, params={"fast": 3})
    tried = replace(search(), strategy_id="sma")
    own = {finding.rule for finding in lint(replace(result, config=config), sweep=tried)}
    assert {"snooped", "overfitted"} <= own
    for other in (replace(config, params={"fast": 1_000}), replace(config, params={})):
        rules = {finding.rule for finding in lint(replace(result, config=other), sweep=tried)}
        assert rules == own - {"snooped", "overfitted", "lonely_peak", "on_the_edge"} | {"not_in_search"}
    stranger = lint(replace(result, config=config, strategy_id="rsi"), sweep=tried)
    assert "The sweep's 100 sets of sma do not have this one" in next(
        finding.text for finding in stranger if finding.rule == "not_in_search"
    )


def test_returns_of_another_sweep_and_none_are_not_taken(swept: tuple[Path, Path], tmp_path: Path) -> None:
    plain = json.loads(swept[0].read_text())
    kept = tmp_path / "kept.ndjson"
    plain["summary"]["files"]["returns"] = str(kept.with_suffix(".f32"))
    file = tmp_path / "sweep.json"
    file.write_text(json.dumps(plain))
    assert read_search(file, ()).returns is None
    np.zeros(13, np.float32).tofile(kept.with_suffix(".f32"))
    assert read_search(file, ()).returns is None


@pytest.mark.parametrize(
    "content", [None, "{", "[]", '{"summary": 3}', '{"summary": {"config": {"symbol": "BTC/USD"}}, "results": []}']
)
def test_what_is_no_sweep_is_said_to_be_none(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=r"other\.json: expected"):
        read_search(file, ())
    assert main([str(file)]) == 1


def test_a_sweep_counts_its_trials_itself(swept: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(swept[0]), "--trials", "5"]) == 1
    assert "--trials: expected with the result of a backtest" in capsys.readouterr().err


def test_bars_come_from_files_or_from_journals_and_not_from_both(
    swept: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(swept[0]), "--bars", str(swept[1]), "--journals", str(tmp_path)]) == 1
    assert "--bars, --journals: expected one of them" in capsys.readouterr().err
