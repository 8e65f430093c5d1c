"""The paper venue as a daemon: how it is built from the ``paper`` section, and what it keeps.

Kept, as the fold of ``{app.ledger_dir}/paper_trader.ndjson``: open orders with their fills so far, the ids of the
newest 10,000 finished orders and early cancels, positions, the last trades of the market that filled something,
whether the kill switch is tripped, and how far the risk engine and the strategy runner have been processed.
``orders.updates``, ``fills.*`` and ``positions.*`` in ``{app.log_dir}`` are projections of it, completed by a
start.

Learnt again from the feed: last prices, and where an order stands in the queue. Trades that happened while the
venue was down fill nothing.

A start reads ``paper_trader.snapshot`` beside the ledger and the transactions behind it, up to 5,000 of them: 0.2 s
after a day of 50,000 intents, 4.2 s for the whole ledger where no snapshot fits (docs/benchmarks.md, ``recovery``).
"""

from __future__ import annotations

from typing import Final

from core.config.model import Config
from core.service.spec import DaemonSpec
from execution.paper_venue import PaperVenue


def build(config: Config) -> PaperVenue:
    """The paper venue of a configuration; every quote currency starts with ``paper.starting_cash``."""
    instruments, paper = config.instruments_table(), config.paper
    parameters = {"participation": paper.participation} if paper.fill_model == "trade_flow" else {}
    starting_cash = {instrument.quote: paper.starting_cash for instrument in instruments.values()}
    return PaperVenue(instruments, paper.fill_model, parameters, starting_cash=starting_cash)


SPEC: Final = DaemonSpec("paper_trader", build)
