"""Fill models by name, and their parameters."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import ConfigError
from execution.fill_models import DEFAULT_FILL_MODEL, FILL_MODELS, fill_model


def test_the_models_go_by_name_and_the_realistic_one_is_the_default() -> None:
    assert {name: fill_model(name).name for name in FILL_MODELS} == {
        "last_trade": "last_trade",
        "trade_flow": "trade_flow",
    }
    assert fill_model().name == DEFAULT_FILL_MODEL == "trade_flow"


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("best_case", {}, "expected one of last_trade, trade_flow, got 'best_case'"),
        ("last_trade", {"participation": 0.5}, "unknown parameter participation; expected one of slippage_bps"),
        ("last_trade", {"slippage_bps": -1}, "slippage_bps: expected a number from 0 to 10000, got -1"),
        ("trade_flow", {"participation": 1.5}, "participation: expected a number from 0 to 1, got 1.5"),
        ("trade_flow", {"participation": float("nan")}, "participation: expected a number from 0 to 1, got nan"),
        ("trade_flow", {"queue_fraction": "half"}, "queue_fraction: expected a number from 0 to 1, got 'half'"),
        ("trade_flow", {"queue_lots": 0.5}, "queue_lots: expected a whole number of at least 0, got 0.5"),
        ("trade_flow", {"slippage_bps": True}, "slippage_bps: expected a number from 0 to 10000, got True"),
    ],
)
def test_what_is_not_a_model_is_refused_with_what_would_be(
    name: str, parameters: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        fill_model(name, parameters)
