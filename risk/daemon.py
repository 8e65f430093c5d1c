"""The risk engine as a daemon: how it is built from the configuration, and what it keeps.

Kept, as the fold of ``{app.ledger_dir}/risk_engine.ndjson``: positions, working orders, restrictions with their
reasons, the day's opening values, order rates, what the newest 16,384 decided intents asked for, and how far the
strategy runner and the venue have been processed. ``risk.decisions``, ``risk.state`` and ``orders.accepted`` in
``{app.log_dir}`` are projections of it, completed by a start.

Learnt again from the feed: last prices and the feed's health. Until the first trade the last recorded price counts,
with its age, so that intents are denied once it is older than ``risk.max_price_age_ms``.

A start reads ``risk_engine.snapshot`` beside the ledger and the transactions behind it, up to 5,000 of them: 0.2 s
after a day of 50,000 intents, 6.3 s for the whole ledger where no snapshot fits (docs/benchmarks.md, ``recovery``).
"""

from __future__ import annotations

from typing import Final

from core.config.model import Config
from core.service.spec import DaemonSpec
from risk.engine import RiskEngine
from risk.limits import RiskLimits


def build(config: Config) -> RiskEngine:
    """The risk engine of a configuration: its instruments, its caps, its venue.

    Orders go to the paper venue unless the installation trades live.
    """
    venue = config.exchange.name if config.app.env == "live" else "paper"
    return RiskEngine(config.instruments_table(), RiskLimits.of(config.risk), venue)


def reload(engine: RiskEngine, config: Config) -> None:
    """Put the configured caps in force."""
    engine.set_limits(RiskLimits.of(config.risk))


SPEC: Final = DaemonSpec(
    "risk_engine",
    build,
    reload=reload,
    reloads=("risk",),
)
