"""The bar aggregation daemon: what the service host is given to run."""

from __future__ import annotations

from collections.abc import Sequence

from apps.ohlcv_aggregator.catch_up import catch_up_from_journals
from core.bars import BarAggregator
from core.config import Config
from core.contracts import Contract
from core.launch import DaemonSpec, launch


def build(config: Config) -> BarAggregator:
    """The aggregator as ``bars`` in the configuration describes it. Raises ConfigError."""
    return BarAggregator(config.bars.timeframes, config.bars.grace_ms)


def catch_up(aggregator: BarAggregator, config: Config) -> Sequence[Contract]:
    """The bars that became due while the daemon was down."""
    return catch_up_from_journals(aggregator, config.log_dir, config.instruments)


SPEC = DaemonSpec(
    "ohlcv_aggregator",
    build,
    "Trades into bars of several lengths, over Redis.",
    ledgered=False,
    catch_up=catch_up,
)


def main() -> int:
    """Run the daemon."""
    return launch(SPEC)
