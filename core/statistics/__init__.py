"""Statistics of track records: the Sharpe ratio with its standard error, and the confidence in it.

Entered by its face. May import: ``core.errors``.
"""

from __future__ import annotations

from core.statistics.sharpe import (
    TrackRecord,
    minimum_track_record_length,
    probabilistic_sharpe_ratio,
    sharpe_standard_error,
)

__all__ = ["TrackRecord", "minimum_track_record_length", "probabilistic_sharpe_ratio", "sharpe_standard_error"]
