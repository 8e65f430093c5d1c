"""The plug-point: what a strategy has to be and what it gets for nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from core.bus import MemoryBus
from core.contracts import OrderIntent
from strategies.base import Reloadable, StrategyBase
from strategies.context import StrategyContext
from strategies.samples.rsi_tema_bb import RsiTemaBb
from strategies.samples.trendline_break import TrendlineBreak
from tests.conftest import ROOT


class Silent(StrategyBase):
    strategy_id = "silent"

    def on_event(self, event: Any) -> Iterable[OrderIntent]:
        return ()


def context(strategy_id: str = "silent") -> StrategyContext:
    return StrategyContext(strategy_id, MemoryBus(), {}, {}, {})


def test_a_subclass_that_answers_events_is_a_strategy() -> None:
    assert list(Silent(context()).on_event(object())) == []


def test_a_strategy_without_on_event_cannot_be_built() -> None:
    class Mute(StrategyBase):
        pass

    with pytest.raises(TypeError, match="on_event"):
        Mute(context())  # type: ignore[abstract]  # the point of the test


def test_an_instance_takes_the_configured_id_over_the_one_of_its_class() -> None:
    assert Silent(context("silent_on_btc")).strategy_id == "silent_on_btc"
    assert Silent.strategy_id == "silent"


def test_the_base_class_is_imported_without_the_context() -> None:
    code = "import sys, strategies.base; sys.exit('strategies.context' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("sample", [TrendlineBreak, RsiTemaBb])
def test_the_samples_hand_over_their_state(sample: type[StrategyBase]) -> None:
    assert isinstance(sample(context()), Reloadable)
    assert not isinstance(Silent(context()), Reloadable)
