"""A reload takes in what a module imports of the same author and nothing else; when that fails, all stays as it was."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from core.errors import ConfigError
from strategies.base import StrategyBase
from strategies.registry import StrategyRegistry
from strategies.reloading import Reload

CHILD = "from reload_parent import Parent, LIMIT\nclass Child(Parent):\n    strategy_id = 'child'\n    limit = LIMIT\n"
PARENT = """
from strategies.base import StrategyBase
LIMIT = {0}
class Parent(StrategyBase):
    strategy_id = 'parent'
    def on_event(self, event): return []
    def number(self): return {0}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    loaded = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - loaded:
        del sys.modules[name]


def write(folder: Path, **sources: str) -> None:
    for name, source in sources.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)


def test_a_refreshed_strategy_has_the_new_parent_and_the_new_constant(folder: Path) -> None:
    write(folder, reload_child=CHILD, reload_parent=PARENT.format(1))
    registry = StrategyRegistry()
    registry.resolve("reload_child.Child")

    write(folder, reload_parent=PARENT.format(22))
    registry.refresh()

    child: Any = registry.resolve("reload_child.Child")
    assert (child.limit, child.number(None), registry.failures) == (22, 22, {})


def test_an_imported_module_that_breaks_is_a_failure_and_the_old_set_stays_whole(folder: Path) -> None:
    write(folder, reload_child=CHILD, reload_parent=PARENT.format(1))
    registry = StrategyRegistry()
    previous: Any = registry.resolve("reload_child.Child")
    modules = {name: sys.modules[name] for name in ("reload_child", "reload_parent")}

    write(folder, reload_child=CHILD + "\n", reload_parent="def (")
    registry.refresh()

    assert "SyntaxError" in registry.failures["reload_child"]
    assert registry.resolve("reload_child.Child") is previous
    assert {name: sys.modules[name] for name in modules} == modules


def test_a_module_that_fails_after_its_parent_was_renewed_takes_the_new_parent_back(folder: Path) -> None:
    write(folder, reload_child=CHILD, reload_parent=PARENT.format(1))
    parent = importlib.import_module("reload_parent")
    importlib.import_module("reload_child")

    write(folder, reload_child="1 / 0", reload_parent=PARENT.format(22))
    with pytest.raises(ZeroDivisionError):
        Reload().module("reload_child")

    assert sys.modules["reload_parent"] is parent


def test_two_strategies_that_share_a_parent_still_share_it(folder: Path) -> None:
    write(folder, reload_one=CHILD, reload_two=CHILD.replace("child", "other"), reload_parent=PARENT.format(1))
    registry = StrategyRegistry()
    for name in ("reload_one", "reload_two"):
        registry.resolve(f"{name}.Child")

    write(folder, reload_parent=PARENT.format(22))
    registry.refresh()

    one, two = registry.resolve("reload_one.Child"), registry.resolve("reload_two.Child")
    assert one.__mro__[1] is two.__mro__[1] is vars(sys.modules["reload_parent"])["Parent"]


def test_inside_a_package_relative_imports_constants_and_circles_are_followed(folder: Path) -> None:
    write(
        folder,
        reload_package____init__="from . import settings\n",
        reload_package__settings="import reload_package.child\nSIZE = 1\n",
        reload_package__child="from . import settings\nfrom .deep import VALUE\n"
        "def both(): return settings.SIZE, VALUE\n",
        reload_package__deep="VALUE = 1\n",
    )
    importlib.import_module("reload_package.child")

    write(
        folder, reload_package__settings="import reload_package.child\nSIZE = 2\n", reload_package__deep="VALUE = 3\n"
    )
    child: Any = Reload().module("reload_package.child")

    assert child.both() == (2, 3)
    package: Any = sys.modules["reload_package"]
    assert package.child is child is sys.modules["reload_package.child"]


def test_what_others_wrote_is_not_reloaded(folder: Path) -> None:
    write(folder, reload_alone="import json, numpy, core.ids\nfrom strategies.base import StrategyBase\n")
    others: dict[str, ModuleType] = {"json": json, "numpy": importlib.import_module("numpy")}

    module: Any = Reload().module("reload_alone")

    assert module.StrategyBase is StrategyBase
    assert {name: sys.modules[name] for name in others} == others
    assert sys.modules["core.errors"].__dict__["ConfigError"] is ConfigError


def test_a_reloaded_kernel_has_the_hosts_own_base_class() -> None:
    from strategies.kernels.strategy import KernelStrategy

    name = "strategies.kernels.sma_cross"
    previous = importlib.import_module(name)
    try:
        module: Any = Reload().module(name)
    finally:
        sys.modules[name] = previous

    assert module.SmaCross is not vars(previous)["SmaCross"]
    assert issubclass(module.SmaCross, KernelStrategy)
