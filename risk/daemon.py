"""The risk engine as a daemon: how it is built from the configuration, and what it keeps."""

from __future__ import annotations

from typing import Final

from core.config_model import Config
from core.daemon_spec import DaemonSpec
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
    "Decides on every order intent, over Redis.",
    guarded=True,
    reload=reload,
)
