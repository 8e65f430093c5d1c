"""The risk engine daemon: the component of ``risk.engine`` under the limits of the configuration."""

from __future__ import annotations

from core.config_model import Config
from core.launch import DaemonSpec, launch
from risk import RiskEngine, RiskLimits


def build(config: Config) -> RiskEngine:
    """The risk engine of a configuration: its instruments, its caps, its venue.

    Orders go to the paper venue unless the installation trades live.
    """
    venue = config.exchange.name if config.app.env == "live" else "paper"
    return RiskEngine(config.instruments_table(), RiskLimits.of(config.risk), venue)


def reload(engine: RiskEngine, config: Config) -> None:
    """Put the configured caps in force."""
    engine.set_limits(RiskLimits.of(config.risk))


SPEC = DaemonSpec(
    "risk_engine",
    build,
    "Decides on every order intent, over Redis.",
    guarded=True,
    reload=reload,
)


def main() -> int:
    """Run the daemon."""
    return launch(SPEC)
