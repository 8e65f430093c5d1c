"""Which sets a sweep looks at: lists and spans, constraints, seeded draws, Optuna's rounds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtest.param_sweep import ParameterSweep
from backtest.sweep.settings import SweepSettings
from backtest.sweep.space.constraint import Where
from backtest.sweep.space.neighbours import edges, neighbours_median
from backtest.sweep.space.parameter_space import Choice, ParameterSpace, ParamSet, Span, axis_of, choice
from backtest.sweep.space.search import ROUND, search_of
from core.errors import ConfigError
from tests.backtest.sweep.test_param_sweep import BARS
from tests.support.backtests.runs import ATOM, INSTRUMENTS, WIDE


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("10,20,30", Choice("x", (10, 20, 30))),
        ("0.5", Choice("x", (0.5,))),
        ("true,false", Choice("x", (True, False))),
        ("market,limit", Choice("x", ("market", "limit"))),
        ("3,3,4", Choice("x", (3, 4))),
        ("5..60", Span("x", 5, 60)),
        ("5..60..5", Span("x", 5, 60, 5)),
        ("-1..1..0.5", Span("x", -1, 1, 0.5)),
        ("0.001..0.1:log", Span("x", 0.001, 0.1, None, True)),
    ],
)
def test_what_stands_behind_a_parameter_is_a_list_or_a_span(text: str, axis: Choice | Span) -> None:
    assert axis_of("x", text) == axis


@pytest.mark.parametrize("text", ["9..5", "1..5..0", "0..1:log", "NaN,1", "1e999"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="parameter x: expected"):
        axis_of("x", text)


def test_a_grid_steps_through_spans_without_noise_in_the_digits() -> None:
    assert Span("x", 0.1, 0.5, 0.1).listed() == (0.1, 0.2, 0.3, 0.4, 0.5)
    assert Span("x", 5, 20, 5).listed() == (5, 10, 15, 20)
    with pytest.raises(ConfigError, match="expected a list or a step for a grid"):
        Span("x", 0.1, 0.5).listed()


def test_a_grid_changes_its_last_parameter_fastest() -> None:
    space = ParameterSpace((choice("a", [1, 2]), choice("b", "xy")))
    assert space.grid() == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]


def test_a_grid_that_is_too_large_is_refused_before_it_fills_the_memory() -> None:
    space = ParameterSpace((Span("a", 1, 9_999), Span("b", 1, 9_999)))
    with pytest.raises(ConfigError, match="expected at most 10,000,000 combinations, got 99,980,001"):
        space.grid()


@given(st.integers(0, 2**32 - 1))
def test_random_draws_depend_on_the_seed_alone_and_keep_the_rules(seed: int) -> None:
    axes = (Span("a", 1, 9), Span("b", 0.01, 10.0, log=True), Span("c", 0.0, 1.0, 0.25))
    space = ParameterSpace(axes, Where("a > b", "abc"))
    sets = space.random(20, seed)

    assert sets == space.random(20, seed)
    assert len(set(sets)) == len(sets) == 20
    for a, b, c in sets:
        assert a in range(1, 10)
        assert isinstance(b, float)
        assert 0.01 <= b <= 10
        assert c in (0.0, 0.25, 0.5, 0.75, 1.0)
        assert isinstance(a, int)
        assert a > b


def test_random_draws_end_where_the_space_does() -> None:
    assert sorted(ParameterSpace((choice("a", [1, 2, 3]),)).random(50, 0)) == [(1,), (2,), (3,)]
    with pytest.raises(ConfigError, match="no set out of"):
        ParameterSpace((choice("a", [1]),), Where("a > 1", "a")).random(1, 0)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("fast < slow", True),
        ("fast < slow < 15", False),
        ("2 * fast <= slow and not kind == 'b'", True),
        ("slow % fast == 1 or min(fast, slow) > 100", False),
        ("abs(fast - slow) / 2 >= 5", True),
        ("kind == 'a'", True),
        ("-fast // 2 < 0", True),
    ],
)
def test_a_constraint_says_which_sets_are_allowed(text: str, holds: bool) -> None:
    assert Where(text, ["fast", "slow", "kind"])({"fast": 10, "slow": 20, "kind": "a"}) is holds


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "fast.__class__",
        "(lambda: 1)()",
        "[fast for fast in slow]",
        "fast ** 9999",
        "fast if slow else 1",
        "max(fast, key=slow)",
        "f'{fast}'",
        "fast := 3",
        "fast <",
        "",
        "1" * 2_000,
        "fast < speed",
        "fast in (1, 2)",
    ],
)
def test_a_constraint_is_never_code(text: str) -> None:
    with pytest.raises(ConfigError, match="--where: expected"):
        Where(text, ["fast", "slow"])


@pytest.mark.parametrize("text", ["kind * 99999999 == kind", "fast < kind", "fast / (fast - fast) > 1"])
def test_a_constraint_that_makes_no_sense_for_a_set_is_told_with_the_set(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be said of"):
        Where(text, ["fast", "kind"])({"fast": 1, "kind": "a"})


def led(seed: int, order: int = 1) -> list[ParamSet]:
    """What Optuna asks for when ``x`` should be near 3."""
    space = ParameterSpace((Span("x", 0.0, 10.0), choice("kind", ["a", "b"]), Span("n", 1, 9, 2)), Where("x > 1", "x"))
    search = search_of("optuna", space, 30, seed, "minimize")
    asked: list[ParamSet] = []
    while sets := search.ask():
        asked += sets
        assert len(sets) <= ROUND
        search.tell({values: abs(float(str(values[0])) - 3.0) for values in list(sets)[::order]})
    return asked


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_optuna_is_led_by_results_and_its_seed_whatever_the_order_of_results() -> None:
    first = led(1)

    assert first == led(1) == led(1, order=-1)
    assert first != led(2)
    assert len(first) == len(set(first)) == 30
    assert all(float(str(values[0])) > 1 for values in first)
    apart = [abs(float(str(values[0])) - 3.0) for values in first]
    assert sum(apart[-10:]) < sum(apart[:10])


def optuna_sweep(folder: Path) -> ParameterSweep:
    settings = SweepSettings(folder=folder, workers=0, search="optuna", trials=20, seed=3)
    sweep = ParameterSweep("sma_cross_v1", ATOM, data=BARS, instruments=INSTRUMENTS, limits=WIDE, settings=settings)
    sweep.add_axis(Span("fast", 2, 12))
    sweep.add_axis(Span("slow", 4, 40))
    sweep.add_constraint("fast < slow")
    return sweep


def test_an_optuna_sweep_that_lost_its_last_chunks_asks_the_same_again(tmp_path: Path) -> None:
    asyncio.run(optuna_sweep(tmp_path).run())
    before = (tmp_path / "sweep_results.csv").read_bytes()
    (checkpoint,) = (tmp_path / "sweeps").glob("*.ndjson")
    lines = checkpoint.read_bytes().splitlines(keepends=True)
    checkpoint.write_bytes(b"".join(lines[: len(lines) // 2]))

    outcome = optuna_sweep(tmp_path).run_here()

    assert (tmp_path / "sweep_results.csv").read_bytes() == before
    assert any("sets are known from" in note for note in outcome.notes)
    assert len(outcome.table) == 20


def median(sets: Sequence[ParamSet], values: Sequence[float], row: int) -> float | None:
    import pandas as pd

    names = [f"p{at}" for at in range(len(sets[0]))]
    table = pd.DataFrame(dict(zip(names, zip(*sets, strict=True), strict=True)) | {"m": values})
    return neighbours_median(table, names, "m", [row])[0]


def test_neighbours_are_a_step_away_in_every_parameter() -> None:
    sets: list[ParamSet] = [(a, b) for a in (1, 2, 5, 9) for b in (10, 20, 30)]
    values = [float(at) for at in range(12)]
    assert median(sets, values, 0) == 3.0  # of 1, 3 and 4
    assert median(sets, values, 4) == 4.0  # all around it
    assert median([(a, b) for a, b in sets if a == 1], [1.0, 2.0, 9.0], 1) == 5.0


def test_neighbours_have_the_same_value_where_values_have_no_order() -> None:
    sets: list[ParamSet] = [(a, kind) for kind in ("x", "y") for a in (1, 2, 3)]
    assert median(sets, [1.0, 0.0, 3.0, 100.0, 100.0, 100.0], 1) == 2.0


def test_a_best_value_on_the_edge_is_noticed_where_there_is_an_inside() -> None:
    axes = (choice("a", [1, 2, 3]), choice("b", ["x", "y", "z"]), Span("c", 0.0, 1.0), choice("d", [1, 2]))
    assert edges(axes, {"a": 3, "b": "x", "c": 0.999, "d": 1}) == ["a", "c"]
    assert edges(axes, {"a": 2, "b": "x", "c": 0.5, "d": 1}) == []
