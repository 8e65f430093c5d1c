"""The paper trader daemon: the component of ``execution.paper_venue`` under the ``paper`` section."""

from __future__ import annotations

from core.config_model import Config
from core.launch import DaemonSpec, launch
from execution import PaperVenue


def build(config: Config) -> PaperVenue:
    """The paper venue of a configuration; every quote currency starts with ``paper.starting_cash``."""
    instruments, paper = config.instruments_table(), config.paper
    parameters = {"participation": paper.participation} if paper.fill_model == "trade_flow" else {}
    starting_cash = {instrument.quote: paper.starting_cash for instrument in instruments.values()}
    return PaperVenue(instruments, paper.fill_model, parameters, starting_cash=starting_cash)


SPEC = DaemonSpec(
    "paper_trader",
    build,
    "A simulated venue that fills accepted orders, over Redis.",
    guarded=True,
)


def main() -> int:
    """Run the daemon."""
    return launch(SPEC)
