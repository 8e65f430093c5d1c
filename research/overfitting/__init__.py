"""Statistics of luck: probabilistic and deflated Sharpe ratios, overfitting probability, tests for data snooping.

Entered by its face. May import: ``core``.
"""

from __future__ import annotations

from research.overfitting.sharpe import (
    OverfittingProbability,
    RealityCheck,
    SuperiorAbility,
    TrackRecord,
    bootstrap_weights,
    deflated_best,
    deflated_sharpe_ratio,
    effective_trials,
    expected_maximum_sharpe,
    minimum_track_record_length,
    most_trials,
    probabilistic_sharpe_ratio,
    probability_of_backtest_overfitting,
    reality_check,
    sharpe_standard_error,
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
