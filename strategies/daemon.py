"""The strategy manager as a daemon: how it is built from config/strategies.yaml, and what it keeps.

Kept, as the fold of ``{app.ledger_dir}/strategy_runner.ndjson``: each strategy's positions and open orders, the ids
of the newest 4,096 ended ones, and how far the risk engine and the venue have been processed. A strategy that is
configured no more finds its own when it comes back. ``strat.intent`` and ``orders.cancel`` in ``{app.log_dir}`` are
projections of it, completed by a start.

Learnt again from the feed: last prices, and everything a strategy knows beyond positions and orders, such as
indicators.

A start reads ``strategy_runner.snapshot`` beside the ledger and the transactions behind it, up to 5,000 of them:
0.1 s after a day of 50,000 intents, 5.7 s for the whole ledger where no snapshot fits (docs/benchmarks.md,
``recovery``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from core.bus import BusProto, MemoryBus
from core.config.model import Config
from core.service.spec import DaemonSpec
from strategies.manager import BUDGET_S, StrategyManager
from strategies.registry import StrategyRegistry


def build(
    config: Config,
    bus: BusProto | None = None,
    source: Callable[[], Config] | None = None,
    budget_s: float | None = BUDGET_S,
) -> StrategyManager:
    """The manager with every enabled strategy of the configuration loaded.

    Args:
        config: the whole configuration.
        bus: what strategies may listen to and ``run`` works on; a bus of its own when left out.
        source: reads the configuration again for a hot reload.
        budget_s: wall-clock seconds for one call of a strategy; None for none.

    Raises:
        ConfigError: the strategies' entries are malformed.
    """
    registry = StrategyRegistry()
    registry.discover()
    manager = StrategyManager(
        registry,
        MemoryBus() if bus is None else bus,
        instruments=config.instruments_table(),
        source=None if source is None else lambda: _strategies(source()),
        budget_s=budget_s,
    )
    manager.install(_strategies(config))
    return manager


def _strategies(config: Config) -> Mapping[str, Any]:
    return {"strategies": config.strategies}


def reload(manager: StrategyManager, config: Config) -> None:
    """Take strategies' code and parameters as they are now. Raises ConfigError."""
    manager.renew(_strategies(config))


SPEC: Final = DaemonSpec(
    "strategy_runner",
    build,
    reload=reload,
    reloads=("strategies",),
)
