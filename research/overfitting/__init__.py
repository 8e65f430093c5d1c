"""Statistics of luck: probabilistic and deflated Sharpe ratios, overfitting probability, tests for data snooping.

Entered by its face. The Sharpe ratio of one track record is from ``core.statistics``. May import: ``core``.
"""

from __future__ import annotations

from core.statistics import (
    TrackRecord,
    minimum_track_record_length,
    probabilistic_sharpe_ratio,
    sharpe_standard_error,
)
from research.overfitting.cscv import OverfittingProbability, probability_of_backtest_overfitting
from research.overfitting.deflation import (
    deflated_best,
    deflated_sharpe_ratio,
    effective_trials,
    expected_maximum_sharpe,
    most_trials,
)
from research.overfitting.snooping import (
    RealityCheck,
    SuperiorAbility,
    bootstrap_weights,
    reality_check,
    spa_test,
)

__all__ = [
    "OverfittingProbability",
    "RealityCheck",
    "SuperiorAbility",
    "TrackRecord",
    "bootstrap_weights",
    "deflated_best",
    "deflated_sharpe_ratio",
    "effective_trials",
    "expected_maximum_sharpe",
    "minimum_track_record_length",
    "most_trials",
    "probabilistic_sharpe_ratio",
    "probability_of_backtest_overfitting",
    "reality_check",
    "sharpe_standard_error",
    "spa_test",
]
