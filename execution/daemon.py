"""The paper venue as a daemon: how it is built from the ``paper`` section, and what it keeps."""

from __future__ import annotations

from typing import Final

from core.config_model import Config
from core.daemon_spec import DaemonSpec
from execution.paper_venue import PaperVenue


def build(config: Config) -> PaperVenue:
    """The paper venue of a configuration; every quote currency starts with ``paper.starting_cash``."""
    instruments, paper = config.instruments_table(), config.paper
    parameters = {"participation": paper.participation} if paper.fill_model == "trade_flow" else {}
    starting_cash = {instrument.quote: paper.starting_cash for instrument in instruments.values()}
    return PaperVenue(instruments, paper.fill_model, parameters, starting_cash=starting_cash)


SPEC: Final = DaemonSpec(
    "paper_trader",
    build,
    "A simulated venue that fills accepted orders, over Redis.",
    guarded=True,
)
