"""The one table of the fleet: which contract travels on which topic, from whom, to whom, how safely, journaled where.

The wiring diagram in the docs, the daemons' subscriptions and the audit are read from here. Each
contract has exactly one topic, so an event alone tells where it goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

from core import contracts as c
from core.daemons import DAEMONS
from core.errors import RejectedError
from core.instruments import file_symbol


class Delivery(StrEnum):
    """``broadcast`` is fast and may be lost, visibly; ``ledger`` has an exactly-once effect through any crash."""

    BROADCAST = "broadcast"
    LEDGER = "ledger"


@dataclass(frozen=True)
class Topic:
    """One row of the table. ``{field}`` in a template is filled from the event."""

    template: str
    contract: type[c.Contract]
    producer: str
    consumers: tuple[str, ...]
    delivery: Delivery
    journal: str | None = None

    @property
    def pattern(self) -> str:
        """The template as a glob, for subscriptions."""
        return _glob(self.template)

    def name(self, event: c.Contract) -> str:
        """The topic this event goes to."""
        return _filled(self.template, event) if "{" in self.template else self.template

    def journal_name(self, event: c.Contract) -> str | None:
        """The journal stream this event is written to, in the form used for files, or None."""
        if self.journal is None or "{" not in self.journal:
            return self.journal
        return _file_name(_filled(self.journal, event))


def _filled(template: str, event: c.Contract) -> str:
    return _fill(template, getattr(event, "symbol", ""), getattr(event, "timeframe", ""))


@lru_cache(maxsize=4096)
def _fill(template: str, symbol: str, timeframe: str) -> str:
    return template.format(symbol=symbol, timeframe=timeframe)


_file_name = lru_cache(maxsize=4096)(file_symbol)


def _glob(template: str) -> str:
    return template.replace("{symbol}", "*").replace("{timeframe}", "*")


_MD: Final = "md_ingest"
_BARS: Final = "ohlcv_aggregator"
_STRAT: Final = "strategy_runner"
_RISK: Final = "risk_engine"
_PAPER: Final = "paper_trader"
FLEET: Final = tuple(daemon.name for daemon in DAEMONS)  # the order in which a round serves the daemons
_B: Final = Delivery.BROADCAST
_L: Final = Delivery.LEDGER

TABLE: Final = (
    Topic("md.trades.{symbol}", c.TradeEvent, _MD, (_BARS, _RISK, _PAPER, _STRAT), _B, "md.trades.{symbol}"),
    Topic("md.book.{symbol}", c.BookEvent, _MD, (_STRAT,), _B, "md.book.{symbol}"),
    Topic("md.ticker.{symbol}", c.TickerEvent, _MD, (_STRAT,), _B, "md.ticker.{symbol}"),
    Topic("md.gaps.{symbol}", c.FeedGap, _MD, (), _B, "md.gaps.{symbol}"),
    Topic("md.status.{symbol}", c.FeedStatus, _MD, (_RISK,), _B, "md.status.{symbol}"),
    Topic("md.clock", c.ClockTick, _MD, (_BARS, _RISK, _PAPER, _STRAT), _B),
    Topic("md.ohlcv.{timeframe}.{symbol}", c.OHLCVBar, _BARS, (_STRAT,), _B, "ohlcv.{timeframe}.{symbol}"),
    Topic("strat.intent", c.OrderIntent, _STRAT, (_RISK,), _L, "strat.intent"),
    Topic("risk.decisions", c.RiskDecision, _RISK, (_STRAT,), _L, "risk.decisions"),
    Topic("risk.state", c.RiskState, _RISK, (), _L, "risk.state"),
    Topic("orders.accepted", c.OrderEvent, _RISK, (_PAPER,), _L, "orders.accepted"),
    Topic("orders.cancel", c.OrderCancel, _STRAT, (_PAPER,), _L, "orders.cancel"),
    Topic("orders.updates", c.OrderUpdate, _PAPER, (_RISK, _STRAT), _L, "orders.updates"),
    Topic("fills.new", c.FillEvent, _PAPER, (_RISK, _STRAT), _L, "fills.{symbol}"),
    Topic("positions.snapshot", c.PositionSnapshot, _PAPER, (), _B, "positions.{symbol}"),
)

BY_CONTRACT: Final = {row.contract: row for row in TABLE}


def topic_of(event: c.Contract) -> str:
    """The topic an event travels on. Raises RejectedError for a contract that is never sent."""
    row = BY_CONTRACT.get(type(event))
    if row is None:
        raise RejectedError(f"{type(event).__name__} has no topic: it is local to one daemon")
    return row.name(event)


@lru_cache(maxsize=4096)
def row_of(topic: str) -> Topic:
    """The table's row for a concrete topic name. Raises RejectedError for an unknown one."""
    for row in TABLE:
        if fnmatchcase(topic, row.pattern):
            return row
    raise RejectedError(f"unknown topic {topic!r}: expected one of {', '.join(row.template for row in TABLE)}")


def consumed_by(daemon: str) -> Iterator[Topic]:
    """The rows that a daemon subscribes to, in table order."""
    return (row for row in TABLE if daemon in row.consumers)
