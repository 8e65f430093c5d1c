"""The daemons of the paper fleet, in the order in which a round serves them. A new daemon is a line here."""

from __future__ import annotations

from typing import Final

from apps.ohlcv_aggregator.main import SPEC as OHLCV_AGGREGATOR
from apps.paper_trader.main import SPEC as PAPER_TRADER
from apps.risk_engine.main import SPEC as RISK_ENGINE
from apps.strategy_runner.main import SPEC as STRATEGY_RUNNER

BEHIND_THE_FEED: Final = (OHLCV_AGGREGATOR, STRATEGY_RUNNER, RISK_ENGINE, PAPER_TRADER)
