"""The bar aggregation daemon: what the service host is given to run."""

from __future__ import annotations

from core.bars import BarAggregator
from core.config import Config


def build(config: Config) -> BarAggregator:
    """The aggregator as ``bars`` in the configuration describes it. Raises ConfigError."""
    return BarAggregator(config.bars.timeframes, config.bars.grace_ms)
