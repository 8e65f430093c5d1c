"""Where strategies come from: packages, class paths, and what happens to a module that does not import."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import ConfigError
from strategies.modules import path_of
from strategies.registry import StrategyRegistry, UnknownStrategyError
from strategies.samples.rsi_tema_bb import RsiTemaBb
from strategies.samples.trendline_break import TrendlineBreak
from tests.support.strategy_cases import BuysEachTrade, write_strategy


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An importable package ``mine`` of strategies."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name == "mine" or name.startswith("mine.")]:
        del sys.modules[name]


def test_the_samples_are_discovered() -> None:
    registry = StrategyRegistry()

    registry.discover()

    assert path_of(registry.get("trendline_break_v1")) == path_of(TrendlineBreak)
    assert path_of(registry.get("rsi_tema_bb_v1")) == path_of(RsiTemaBb)
    assert registry.failures == {}


def test_an_unknown_id_is_answered_with_its_nearest_neighbour() -> None:
    registry = StrategyRegistry()
    registry.discover()

    with pytest.raises(UnknownStrategyError, match="did you mean trendline_break_v1") as caught:
        registry.get("trendline_brake_v1")
    assert isinstance(caught.value, KeyError)


def test_an_id_is_given_once_but_the_same_class_may_register_twice() -> None:
    class Impostor(BuysEachTrade):
        strategy_id = "buys_each_trade"

    registry = StrategyRegistry()
    registry.register(BuysEachTrade)
    registry.register(BuysEachTrade)

    with pytest.raises(ConfigError, match=r"taken by .*BuysEachTrade; rename one"):
        registry.register(Impostor)


def test_a_class_path_finds_its_class_and_a_misspelt_one_the_nearest() -> None:
    registry = StrategyRegistry()

    assert registry.resolve("strategies.samples.trendline_break.TrendlineBreak") is TrendlineBreak
    with pytest.raises(UnknownStrategyError, match="did you mean TrendlineBreak"):
        registry.resolve("strategies.samples.trendline_break.TrendlineBreka")
    with pytest.raises(ConfigError, match=r"No module named 'strategies\.samples\.trendlin'"):
        registry.resolve("strategies.samples.trendlin.TrendlineBreak")
    with pytest.raises(UnknownStrategyError):
        registry.resolve("strategies.base.StrategyBase")


@pytest.mark.parametrize("broken", ["1/0", "def", "raise SystemExit(1)", "import no_such_module_at_all"])
def test_a_module_that_does_not_import_is_skipped_with_its_reason_and_the_others_are_found(
    package: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    (package / "broken.py").write_text(broken + "\n")
    write_strategy(package, "sound", "return []")
    registry = StrategyRegistry()

    registry.discover("mine")

    assert registry.get("sound").__name__ == "Mine"
    assert list(registry.failures) == ["mine.broken"]
    assert "correct it, then reload" in registry.failures["mine.broken"]
    assert "mine.broken" in caplog.text
    with pytest.raises(UnknownStrategyError, match="Skipped: cannot import"):
        registry.get("broken")


def test_a_second_class_under_a_taken_id_is_left_out_and_told_of(package: Path) -> None:
    write_strategy(package, "a_first", "return []")
    write_strategy(package, "b_second", "return []")
    (package / "b_second.py").write_text((package / "b_second.py").read_text().replace("'b_second'", "'a_first'"))
    registry = StrategyRegistry()

    registry.discover("mine")

    assert registry.get("a_first").__module__ == "mine.a_first"
    assert list(registry.failures) == ["mine.b_second.Mine"]


def test_a_refresh_takes_in_changed_new_and_mended_modules_at_once(package: Path) -> None:
    changed = write_strategy(package, "changed", "return [1]")
    (package / "mended.py").write_text("1/0\n")
    registry = StrategyRegistry()
    registry.discover("mine")
    before = registry.resolve(f"mine.{changed}")

    write_strategy(package, "changed", "return [2]")
    write_strategy(package, "mended", "return []")
    write_strategy(package, "added", "return []")
    registry.refresh()

    assert registry.resolve(f"mine.{changed}") is not before
    assert registry.get("changed") is registry.resolve(f"mine.{changed}")
    assert registry.get("mended")
    assert registry.get("added")
    assert registry.failures == {}


def test_a_module_that_breaks_on_refresh_stays_importable_as_it_was(package: Path) -> None:
    path = write_strategy(package, "fragile", "return []")
    registry = StrategyRegistry()
    registry.discover("mine")
    before, module = registry.resolve(f"mine.{path}"), sys.modules["mine.fragile"]

    (package / "fragile.py").write_text("VALUE = 1\n1/0\n")
    registry.refresh()

    assert registry.resolve(f"mine.{path}") is before
    assert sys.modules["mine.fragile"] is module
    assert not hasattr(module, "VALUE")
    assert "ZeroDivisionError" in registry.failures["mine.fragile"]


def test_a_class_that_was_removed_is_no_longer_registered(package: Path) -> None:
    write_strategy(package, "going", "return []")
    registry = StrategyRegistry()
    registry.discover("mine")

    (package / "going.py").write_text("")
    registry.refresh()

    with pytest.raises(UnknownStrategyError):
        registry.get("going")
