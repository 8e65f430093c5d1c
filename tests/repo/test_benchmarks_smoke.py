"""Every benchmark runs on a tiny workload and verifies its own output. No time is asserted here."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.cli import MODULES, as_json
from benchmarks.hardware import look
from benchmarks.result import Budget, Figure, Result, SkippedError, VerificationError, verify
from benchmarks.server import Server, ServerMissingError, running
from benchmarks.timing import spread
from benchmarks.workload import Workload

QUICK = ("book", "fleet", "ingest")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    try:
        with running() as started:
            yield started
    except ServerMissingError as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.full) for name in MODULES]
)
def test_a_benchmark_verifies_what_it_did_and_gives_figures(name: str, server: Server, tmp_path: Path) -> None:
    bench = import_module(f"benchmarks.{MODULES[name]}")
    try:
        result: Result = bench.run(Workload(tmp_path, server.url, server.unix_url, tiny=True))
    except SkippedError as reason:
        pytest.skip(str(reason))
    assert result.name == name
    assert result.figures
    assert all(figure.value > 0 for figure in result.figures if "processor" not in figure.label)


def test_ingest_falls_back_to_a_synthetic_capture(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NJORD_TEST_DATA", str(tmp_path / "nowhere"))
    result = import_module("benchmarks.ingest").run(Workload(tmp_path, server.url, server.unix_url, tiny=True))
    assert "synthetic" in result.work


def test_a_wrong_output_stops_the_benchmark() -> None:
    with pytest.raises(VerificationError, match="lines: expected 3, got 2"):
        verify("lines", 3, 2)


def test_a_budget_judges_the_ratio_or_the_value() -> None:
    assert Figure("hop", 150.0, "µs", 100.0, Budget("at most", 1.5, "ratio")).met
    assert Figure("hop", 151.0, "µs", 100.0, Budget("at most", 1.5, "ratio")).met is False
    assert Figure("trades", 50_000.0, "trades/s", 90_000.0, Budget("at least", 50_000)).met
    assert Figure("codec", 1.0, "ns").met is None


def test_percentiles_are_of_the_nearest_rank() -> None:
    assert spread([number * 1_000 for number in range(101)]) == (50.0, 99.0)


def test_the_json_names_the_hardware_and_the_verdicts(tmp_path: Path) -> None:
    hardware = look(tmp_path, "valkey 0")
    figure = Figure("hop", 2.0, "µs", 1.0, Budget("at most", 1.5, "ratio"))
    plain = as_json([Result("hop", [figure], "work")], {"book": "no data"}, hardware)
    assert plain["hardware"]["cores"] == hardware.cores
    told = plain["benchmarks"]["hop"]["figures"][0]
    assert (told["ratio"], told["met"], told["budget"]) == (2.0, False, "≤ 1.5×")
