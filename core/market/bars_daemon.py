"""The bar aggregator as a daemon: how it is built from the ``bars`` section, and what it learns again.

It keeps no ledger. What it told stands in the journals ``ohlcv.{timeframe}.{symbol}`` in ``{app.log_dir}``, what it
was told in ``md.trades.{symbol}`` there: the folder must be the one that the market data daemon writes to.

A start goes on behind the last minute bar: it reads the bars of the longest open window and the trades since, and
publishes first what became due meanwhile. It does the same whenever broadcasts were lost on the way. The place in
the day's file is found by halving, so that a start takes no longer after a day than after a minute: ready in 0.6 s
(docs/benchmarks.md, ``recovery``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from core.config.model import Config
from core.contracts import Contract
from core.market.bars import BarAggregator
from core.market.bars_recovery import catch_up_from_journals
from core.service.spec import DaemonSpec


def build(config: Config) -> BarAggregator:
    """The aggregator as ``bars`` in the configuration describes it. Raises ConfigError."""
    return BarAggregator(config.bars.timeframes, config.bars.grace_ms)


def catch_up(aggregator: BarAggregator, config: Config) -> Sequence[Contract]:
    """The bars that became due while the daemon was down."""
    return catch_up_from_journals(aggregator, config.log_dir, config.instruments)


SPEC: Final = DaemonSpec("ohlcv_aggregator", build, catch_up=catch_up)
