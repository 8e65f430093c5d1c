"""The table of daemons: the one place where a daemon is declared, and the order in which a round serves them.

The processes, the embedded fleet, the rehearsal, the tests, the serving order of topics and the tables in the docs are
read from here. ``python -m apps.NAME`` runs a daemon; ``core.service.spec.load_spec`` finds how it is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.errors import ConfigError

FIRST_PORT: Final = 9_110  # 9100 is node_exporter's; dashboard, exporter, controller, alerts and audit have others


@dataclass(frozen=True, slots=True)
class Daemon:
    """One daemon of the fleet.

    Attributes:
        name: also that of its package in ``apps``, its ledger and its streams.
        spec: the module that holds its ``SPEC``.
        port: of ``/health`` and ``/metrics`` while ``services.base_port`` is as shipped.
        target: what starts it with make.
        summary: what it does, in a line for people.
        ledgered: whether it keeps a ledger.
        guarded: whether it asks the kill switch before every intent and order.
        only_listens: whether it sends nothing to other daemons: nobody waits for it, and no round does.
    """

    name: str
    spec: str
    port: int
    target: str
    summary: str
    ledgered: bool = True
    guarded: bool = False
    only_listens: bool = False

    @property
    def port_offset(self) -> int:
        """The distance of its port from ``services.base_port``."""
        return self.port - FIRST_PORT


DAEMONS: Final = (
    Daemon(
        "md_ingest",
        spec="apps.md_ingest.main",
        port=9_110,
        target="run-md",
        summary="trades and books of a venue, a recording or a synthetic market: in order, once, gaps filled or told",
        ledgered=False,
    ),
    Daemon(
        "ohlcv_aggregator",
        spec="core.market.bars_daemon",
        port=9_111,
        target="run-bars",
        summary="1m, 5m, 15m and 1h bars on wall-clock boundaries",
        ledgered=False,
    ),
    Daemon(
        "strategy_runner",
        spec="strategies.daemon",
        port=9_112,
        target="run-strat",
        summary="the strategies of `config/strategies.yaml`, each behind its own wall, hot reload on SIGHUP",
    ),
    Daemon(
        "risk_engine",
        spec="risk.daemon",
        port=9_113,
        target="run-risk",
        summary="one decision for every intent, with the numbers it was taken on",
        guarded=True,
    ),
    Daemon(
        "paper_trader",
        spec="execution.daemon",
        port=9_114,
        target="run-paper",
        summary="a simulated venue: fills from the trades that happen, positions, profit and loss",
        guarded=True,
    ),
)
FEED: Final = DAEMONS[0].name  # where market data enters; every round begins there
BEHIND_THE_FEED: Final = tuple(daemon.name for daemon in DAEMONS[1:] if not daemon.only_listens)  # in every round
LEDGERED: Final = tuple(daemon.name for daemon in DAEMONS if daemon.ledgered)

_BY_NAME: Final = {daemon.name: daemon for daemon in DAEMONS}


def daemon_named(name: str) -> Daemon:
    """The row of a daemon. Raises ConfigError for a name that is not in the table."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise ConfigError(f"daemon {name!r}: expected one of {', '.join(_BY_NAME)}") from None
