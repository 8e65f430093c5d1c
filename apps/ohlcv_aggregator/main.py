"""The bar aggregation daemon: what the service host is given to run."""

from __future__ import annotations

from core.bars import BarAggregator
from core.config import Config
from core.launch import DaemonSpec, launch


def build(config: Config) -> BarAggregator:
    """The aggregator as ``bars`` in the configuration describes it. Raises ConfigError."""
    return BarAggregator(config.bars.timeframes, config.bars.grace_ms)


SPEC = DaemonSpec(
    "ohlcv_aggregator",
    build,
    "Trades into bars of several lengths, over Redis.",
    ledgered=False,
)


def main() -> int:
    """Run the daemon."""
    return launch(SPEC)
