"""Hot reload: new code and configuration take over, positions stay, and what is broken does not replace what runs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from core.bus import MemoryBus
from core.contracts import OrderIntent
from core.errors import ConfigError
from scripts.regenerate_goldens import FOLDER, read
from strategies.manager import StrategyManager
from strategies.registry import StrategyRegistry
from tests.support.strategy_cases import (
    INSTRUMENTS,
    SYMBOL,
    entry,
    fill_of,
    filled_at_once,
    strategy_in,
    trade,
    write_strategy,
)

BUY = "return [OrderIntent(self.strategy_id, event.symbol, 'buy', 'market', {qty})]"
COUNTING = """
from core.contracts import OrderIntent
from core.errors import ConfigError
from strategies.base import StrategyBase

class Mine(StrategyBase):
    def __init__(self, context):
        super().__init__(context)
        self.count = 0

    def on_event(self, event):
        self.count += {step}
        return []

    def state(self):
        return self.count

    def load_state(self, state):
        {load}
"""


class Desk:
    """A manager of strategies in files, whose configuration can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[dict[str, Any]] = []
        self.manager = StrategyManager(
            StrategyRegistry(), MemoryBus(), instruments=INSTRUMENTS, source=self.read, budget_s=1.0
        )

    def read(self) -> Mapping[str, Any]:
        return {"strategies": list(self.entries)}

    def write(self, name: str, body: str) -> dict[str, Any]:
        return entry(write_strategy(self.folder, name, body), id=name)

    def write_counting(self, step: int = 1, load: str = "self.count = state") -> dict[str, Any]:
        (self.folder / "counting.py").write_text(COUNTING.format(step=step, load=load))
        return entry("counting.Mine", id="counting")

    def start(self, *entries: dict[str, Any]) -> StrategyManager:
        self.entries = list(entries)
        self.manager.install(self.read())
        assert self.manager.failures == {}
        return self.manager

    def quantities(self, number: int = 1) -> dict[str, float]:
        answers = [answer for answer in self.manager.on_event(trade(number)) if isinstance(answer, OrderIntent)]
        return {answer.strategy_id: answer.qty for answer in answers}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.syspath_prepend(tmp_path)
    yield Desk(tmp_path)
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


async def test_changed_code_and_configuration_take_over(desk: Desk) -> None:
    a, b, c = (desk.write(name, BUY.format(qty=1.0)) for name in ("a", "b", "c"))
    manager = desk.start(a, b)

    desk.write("a", BUY.format(qty=2.0))
    desk.entries = [a, b | {"enabled": False}, c]
    await manager.reload()

    assert desk.quantities() == {"a": 2.0, "c": 1.0}


async def test_positions_survive_a_reload(desk: Desk) -> None:
    manager = desk.start(desk.write("a", BUY.format(qty=1.0)))
    fill = fill_of(manager.on_event(trade())[0])
    manager.on_event(fill)

    desk.write("a", BUY.format(qty=2.0))
    await manager.reload()

    assert strategy_in(manager, "a").context.positions[SYMBOL].qty == 1.0


@pytest.mark.parametrize("broken", ["def", "1/0", "raise SystemExit", "class Other: pass"])
async def test_a_version_that_does_not_load_leaves_the_old_one_running_and_the_others_renewed(
    desk: Desk, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    manager = desk.start(desk.write("a", BUY.format(qty=1.0)), desk.write("b", BUY.format(qty=1.0)))
    a = strategy_in(manager, "a")

    (desk.folder / "a.py").write_text(broken + "\n")
    desk.write("b", BUY.format(qty=2.0))
    await manager.reload()

    assert strategy_in(manager, "a") is a
    assert desk.quantities() == {"a": 1.0, "b": 2.0}
    assert list(manager.failures) == ["a"]
    assert "correct it, then reload" in caplog.text


async def test_after_mending_the_new_version_loads(desk: Desk) -> None:
    manager = desk.start(desk.write("a", BUY.format(qty=1.0)))
    (desk.folder / "a.py").write_text("1/0\n")
    await manager.reload()

    desk.write("a", BUY.format(qty=3.0))
    await manager.reload()

    assert manager.failures == {}
    assert desk.quantities() == {"a": 3.0}


async def test_a_configuration_that_is_malformed_changes_nothing(desk: Desk) -> None:
    manager = desk.start(desk.write("a", BUY.format(qty=1.0)))

    desk.entries = [{"id": "a"}]
    await manager.reload()

    with pytest.raises(ConfigError, match="Field required"):
        manager.renew()
    assert "Field required" in manager.failures["strategies"]
    assert desk.quantities() == {"a": 1.0}


async def test_a_stopped_strategy_runs_again_after_a_reload(desk: Desk) -> None:
    manager = desk.start(desk.write("a", "raise ValueError('oh')"))
    for number in range(1, 6):
        manager.on_event(trade(number))
    assert manager.status()[0].stopped

    desk.write("a", BUY.format(qty=1.0))
    await manager.reload()

    assert desk.quantities(7) == {"a": 1.0}
    assert manager.status()[0].errors == 3


async def test_state_is_handed_over_to_a_strategy_that_takes_it(desk: Desk) -> None:
    manager = desk.start(desk.write_counting(step=1))
    for number in range(1, 4):
        manager.on_event(trade(number))

    desk.write_counting(step=10)
    await manager.reload()
    manager.on_event(trade(4))

    assert strategy_in(manager, "counting").count == 13


async def test_a_version_that_refuses_the_state_does_not_replace_the_old_one(desk: Desk) -> None:
    manager = desk.start(desk.write_counting(step=1))
    manager.on_event(trade(1))

    desk.write_counting(step=10, load="raise ValueError('other layout')")
    await manager.reload()
    manager.on_event(trade(2))

    assert strategy_in(manager, "counting").count == 2
    assert manager.failures["counting"] == "ValueError: other layout"


async def test_a_strategy_that_cannot_tell_its_state_is_replaced_cold(desk: Desk) -> None:
    manager = desk.start(desk.write_counting())
    manager.on_event(trade(1))
    del strategy_in(manager, "counting").count

    desk.write_counting()
    await manager.reload()

    assert manager.failures == {}
    assert strategy_in(manager, "counting").count == 0


@pytest.mark.parametrize("name", ["trendline_break.TrendlineBreak", "rsi_tema_bb.RsiTemaBb"])
async def test_a_sample_that_is_reloaded_half_way_answers_as_if_it_had_not_been(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"strategies.samples.{name.split('.')[0]}"
    monkeypatch.setitem(sys.modules, module, importlib.import_module(module))  # put back after the reload
    golden = read(FOLDER / f"{name.split('.')[0]}.jsonl")

    async def answers(reload_at: int) -> list[Any]:
        manager = StrategyManager(StrategyRegistry(), MemoryBus(), instruments=INSTRUMENTS, budget_s=None)
        manager.install({"strategies": [golden.entry]})
        found: list[Any] = []
        for number, event in enumerate(golden.trades()):
            if number == reload_at:
                await manager.reload()
                assert manager.failures == {}
            found += filled_at_once(manager, event)
        return found

    assert len(await answers(-1)) > 2
    assert await answers(300) == await answers(-1)
