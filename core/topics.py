"""The topic table: every contract of the fleet with its topic, producers, consumers, delivery class and journal.

The daemons' subscriptions, the relays, the wiring diagram in the docs and the audit are derived from it. Each
contract has exactly one topic, so an event alone tells where it goes. A topic may have several producers; each has a
stream and journals of its own.
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
    """Delivery class: ``broadcast`` may be lost, visibly; ``ledger`` has an exactly-once effect through any crash."""

    BROADCAST = "broadcast"
    LEDGER = "ledger"


@dataclass(frozen=True)
class Topic:
    """A row of the topic table. ``{symbol}`` and ``{timeframe}`` in a template are filled from the event.

    Attributes:
        producers: the daemons that send the topic. The first one writes the journal under its plain name, every other
            one under ``{name}.{producer}``: a journal has one writer, and recorded names stay when a producer joins.
        consumers: the daemons that process it. A producer keeps its stream until each of them has.
        listeners: daemons that only observe it. One that stays away for longer than the relay's patience holds
            nothing back; it is told which entries it missed.

    Raises:
        ValueError: a row that no daemon sends, or with a daemon in two roles that exclude each other.
    """

    template: str
    contract: type[c.Contract]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    delivery: Delivery
    journal: str | None = None
    listeners: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.producers:
            raise ValueError(f"{self.template}: expected at least one producer, got none")
        roles = (*self.producers, *self.receivers)
        repeated = sorted({name for name in roles if roles.count(name) > 1})
        if repeated:
            raise ValueError(
                f"{self.template}: expected each daemon once, as producer, consumer or listener, "
                f"got {', '.join(repeated)} more than once"
            )

    @property
    def receivers(self) -> tuple[str, ...]:
        """The daemons that subscribe to the topic, consumers first."""
        return (*self.consumers, *self.listeners)

    @property
    def pattern(self) -> str:
        """The template as a glob, for subscriptions."""
        return _glob(self.template)

    def name(self, event: c.Contract) -> str:
        """The topic of an event."""
        return _filled(self.template, event) if "{" in self.template else self.template

    def journal_name(self, event: c.Contract, producer: str) -> str | None:
        """The journal stream that ``producer`` writes an event to, in the form used for files, or None."""
        if self.journal is None:
            return None
        name = _file_name(_filled(self.journal, event)) if "{" in self.journal else self.journal
        return name if producer == self.producers[0] else f"{name}.{producer}"


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
    Topic("md.trades.{symbol}", c.TradeEvent, (_MD,), (_BARS, _RISK, _PAPER, _STRAT), _B, "md.trades.{symbol}"),
    Topic("md.book.{symbol}", c.BookEvent, (_MD,), (_STRAT,), _B, "md.book.{symbol}"),
    Topic("md.bbo.{symbol}", c.BboEvent, (_MD,), (_STRAT,), _B, "md.bbo.{symbol}"),
    Topic("md.ticker.{symbol}", c.TickerEvent, (_MD,), (_STRAT,), _B, "md.ticker.{symbol}"),
    Topic("md.gaps.{symbol}", c.FeedGap, (_MD,), (_BARS,), _B, "md.gaps.{symbol}"),
    Topic("md.status.{symbol}", c.FeedStatus, (_MD,), (_BARS, _RISK), _B, "md.status.{symbol}"),
    Topic("md.clock", c.ClockTick, (_MD,), (_BARS, _RISK, _PAPER, _STRAT), _B),
    Topic("md.ohlcv.{timeframe}.{symbol}", c.OHLCVBar, (_BARS,), (_STRAT,), _B, "ohlcv.{timeframe}.{symbol}"),
    Topic("strat.intent", c.OrderIntent, (_STRAT,), (_RISK,), _L, "strat.intent"),
    Topic("risk.decisions", c.RiskDecision, (_RISK,), (_STRAT,), _L, "risk.decisions"),
    Topic("risk.state", c.RiskState, (_RISK,), (), _L, "risk.state"),
    Topic("orders.accepted", c.OrderEvent, (_RISK,), (_PAPER,), _L, "orders.accepted"),
    Topic("orders.cancel", c.OrderCancel, (_STRAT,), (_PAPER,), _L, "orders.cancel"),
    Topic("orders.updates", c.OrderUpdate, (_PAPER,), (_RISK, _STRAT), _L, "orders.updates"),
    Topic("fills.new", c.FillEvent, (_PAPER,), (_RISK, _STRAT), _L, "fills.{symbol}"),
    Topic("positions.snapshot", c.PositionSnapshot, (_PAPER,), (), _B, "positions.{symbol}"),
)

BY_CONTRACT: Final = {row.contract: row for row in TABLE}


def topic_of(event: c.Contract) -> str:
    """The topic of an event. Raises RejectedError for a contract that is never sent."""
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
    """The rows that a daemon subscribes to, as consumer or listener, in table order."""
    return (row for row in TABLE if daemon in row.receivers)


def upstreams_of(daemon: str) -> tuple[str, ...]:
    """The producers whose streams a daemon reads, in alphabetical order."""
    rows = (row for row in consumed_by(daemon) if row.delivery is Delivery.LEDGER)
    return tuple(sorted({producer for row in rows for producer in row.producers}))


def consumers_of(producer: str) -> tuple[str, ...]:
    """The daemons that a producer keeps its stream for, in alphabetical order."""
    return tuple(sorted({consumer for row in _stream_rows(producer) for consumer in row.consumers}))


def listeners_of(producer: str) -> tuple[str, ...]:
    """The daemons that read a producer's stream and consume none of it, in alphabetical order."""
    listeners = {listener for row in _stream_rows(producer) for listener in row.listeners}
    return tuple(sorted(listeners - set(consumers_of(producer))))


def _stream_rows(producer: str) -> Iterator[Topic]:
    return (row for row in TABLE if producer in row.producers and row.delivery is Delivery.LEDGER)
