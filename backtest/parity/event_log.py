"""The event log of a run, intent by intent: of a session's ledgers, a backtest's result or its messages.

An ``IntentHistory`` is one intent with its decision, order, cancel and fills. A result keeps no denied intents and no
cancels: its event log is not ``complete``, and those are not compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Final

from backtest.contracts import BacktestConfig, BacktestResult, FillTiming
from backtest.parity.market import LEDGERS, RecordedMarket, SessionFiles
from backtest.result_file import read_json, result_of
from core import ids
from core.clock import NS_PER_MS
from core.config.model import Config
from core.contracts import Contract, FillEvent, OrderCancel, OrderEvent, OrderIntent, OrderUpdate, RiskDecision
from core.errors import ConfigError, RejectedError
from core.ledger import ledger

_EXPECTED: Final = "the folder of a session or a result of `python -m backtest.runner` (result_….json)"
_UNREADABLE: Final = (ValueError, KeyError, TypeError, RejectedError)  # of orders and fills that are none


@dataclass(slots=True)
class IntentHistory:
    """One intent with its decision, order, cancel, end and fills.

    ``asked_ns`` is the time of the intent, of a result that of its order; ``arrived_ns`` that of the order's arrival at
    the venue, 0 where it is not known.
    """

    intent: OrderIntent
    arrived_ns: int = 0
    decision: RiskDecision | None = None
    order: OrderEvent | None = None
    cancel: OrderCancel | None = None
    ended: OrderUpdate | None = None
    fills: list[FillEvent] = field(default_factory=list)

    @property
    def allowed(self) -> bool:
        """Whether an order came of it."""
        return self.order is not None or (self.decision is not None and self.decision.allowed)

    @property
    def asked_ns(self) -> int:
        """The time of the intent, UTC epoch ns."""
        return self.intent.ts_local_ns

    @property
    def pairing_key(self) -> tuple[str, str, str]:
        """Strategy, symbol and side: intents without a common id are paired by time among those of the same key."""
        return self.intent.strategy_id, self.intent.symbol, self.intent.side


@dataclass(frozen=True)
class EventLog:
    """A run, ready for comparison.

    Attributes:
        histories: in the order in which they were asked for.
        marks: the last price of each symbol that has one, at which open positions count.
        complete: whether denied intents, cancels and ends of orders are known.
        denied: how many intents were denied.
        stated: profit and loss as the run itself states it, where it does.
        rules: of a backtest's result, what it ran under.
    """

    name: str
    histories: tuple[IntentHistory, ...]
    marks: Mapping[str, Decimal] = field(default_factory=dict)
    complete: bool = True
    denied: int = 0
    stated: Decimal | None = None
    remarks: tuple[str, ...] = ()
    rules: BacktestConfig | None = None

    @property
    def fills(self) -> Iterator[FillEvent]:
        """All fills, intent by intent."""
        return (fill for history in self.histories for fill in history.fills)


def only_of(event_log: EventLog, strategies: frozenset[str]) -> EventLog:
    """The same run as far as some of its strategies go; a remark says so where others are left out."""
    histories = tuple(history for history in event_log.histories if history.intent.strategy_id in strategies)
    if len(histories) == len(event_log.histories):
        return event_log
    others = sorted({history.intent.strategy_id for history in event_log.histories} - strategies)
    remark = f"left out {', '.join(others)}, which share its caps and the volume that trades"
    denied = sum(history.decision is not None and not history.decision.allowed for history in histories)
    return replace(event_log, histories=histories, denied=denied, remarks=(*event_log.remarks, remark))


def event_log_of(
    name: str, messages: Iterable[Contract], marks: Mapping[str, float], remarks: tuple[str, ...] = ()
) -> EventLog:
    """The event log of messages in any order that keeps each kind's own."""
    histories = _histories(messages)
    denied = sum(history.decision is not None and not history.decision.allowed for history in histories)
    return EventLog(name, histories, _exact(marks), denied=denied, remarks=remarks)


def session_event_log(folder: Path, config: Config, name: str = "") -> EventLog:
    """The event log of a recorded session.

    Raises:
        ConfigError: no session there, or none of these instruments.
        LedgerCorruptError, CodecError: its files cannot be read.
    """
    files = SessionFiles.at(folder)
    market = RecordedMarket(files, config.instruments_table())
    return ledger_event_log(name or str(folder), files, market.last_prices())


def ledger_event_log(
    name: str, files: SessionFiles, marks: Mapping[str, float], remarks: tuple[str, ...] = ()
) -> EventLog:
    """The event log of a session's ledgers alone. Raises LedgerCorruptError."""
    return event_log_of(name, _messages(files), marks, remarks)


def result_event_log(result: BacktestResult, name: str = "backtest") -> EventLog:
    """The event log of a backtest's result; what is open at its end counts at the price it is marked at there."""
    orders = [OrderEvent.from_dict(fields) for fields in result.orders]
    fills = [FillEvent.from_dict(fields) for fields in result.fills]
    marks = {trip.symbol: trip.price_close for trip in result.round_trips if trip.is_open}
    stated = _decimal(result.final_capital) - _decimal(result.initial_capital)
    histories, rules = _histories([*orders, *fills]), result.config
    if rules is not None and rules.fill_timing is FillTiming.NEXT_TRADE:
        for history in histories:
            history.arrived_ns = history.order.ts_accepted_ns + rules.latency_ns if history.order is not None else 0
    return EventLog(
        f"{name}{_fill_rule(rules)}", histories, _exact(marks), False, result.denied, stated, result.warnings, rules
    )


def _fill_rule(rules: BacktestConfig | None) -> str:
    if rules is None:
        return ""
    text = f", fills at {rules.fill_timing}"
    if rules.fill_timing is FillTiming.NEXT_TRADE:
        text += f" by {rules.fill_model}"
        text += f" with {100 * rules.participation:g} % of each trade" if rules.fill_model == "trade_flow" else ""
        text += f", {rules.latency_ns / NS_PER_MS:g} ms later" if rules.latency_ns else ""
    return text


def read_event_log(path: Path, config: Config) -> EventLog:
    """The event log of a session's folder or a result's JSON file. Raises as ``session_event_log``."""
    if path.is_dir():
        return session_event_log(path, config)
    result = result_of(read_json(path, _EXPECTED), path, _EXPECTED)
    try:
        return result_event_log(result, str(path))
    except _UNREADABLE as error:
        raise ConfigError(f"{path}: expected {_EXPECTED}, got {type(error).__name__}: {error}") from None


def _messages(files: SessionFiles) -> Iterator[Contract]:
    for name in LEDGERS:
        for transaction in ledger.read(files.ledger(name)):
            yield from (event for _, event in transaction.events)


def _histories(messages: Iterable[Contract]) -> tuple[IntentHistory, ...]:
    """One history for each intent, in the order of intents; for an order that nobody asked for, one out of itself."""
    by_intent: dict[str, IntentHistory] = {}
    by_order: dict[str, IntentHistory] = {}
    for message in messages:
        if isinstance(message, OrderIntent):
            by_intent.setdefault(message.intent_id, IntentHistory(message))
        elif isinstance(message, RiskDecision):
            history = by_intent.get(message.intent_id)
            if history is not None and history.decision is None:
                history.decision = message
        elif isinstance(message, OrderEvent):
            history = by_intent.setdefault(message.intent_id, IntentHistory(_asked(message)))
            history.order, history.decision = message, history.decision or message.decision
            by_order[message.order_id or ids.order_id(message.intent_id)] = history
        elif isinstance(message, FillEvent):
            by_order.setdefault(
                message.order_id, by_intent.setdefault(message.intent_id, IntentHistory(_filled(message)))
            )
            by_order[message.order_id].fills.append(message)
        elif isinstance(message, OrderCancel | OrderUpdate):
            _end(by_order.get(message.order_id) or by_intent.get(_intent_of(message)), message)
    return tuple(by_intent.values())


def _end(history: IntentHistory | None, message: OrderCancel | OrderUpdate) -> None:
    if history is None:
        return
    if isinstance(message, OrderCancel):
        history.cancel = history.cancel or message
        return
    history.arrived_ns = history.arrived_ns or message.ts_ns  # the first report of a venue is of the arrival
    if message.done:
        history.ended = message


def _intent_of(message: OrderCancel | OrderUpdate) -> str:
    """Cancels stand in the first ledger, before their orders: the ids tell whose they are."""
    if isinstance(message, OrderUpdate):
        return message.intent_id
    return message.order_id.replace("o-", "i-", 1)


def _asked(order: OrderEvent) -> OrderIntent:
    """The intent as its order tells it."""
    return OrderIntent(
        order.strategy_id or "?", order.symbol, order.side, order.type, order.qty, order.limit_price, order.intent_id,
        order.ts_accepted_ns, order.meta,
    )  # fmt: skip


def _filled(fill: FillEvent) -> OrderIntent:
    """An intent of which nothing but a fill is known."""
    return OrderIntent(
        fill.strategy_id or "?", fill.symbol, fill.side, "market", fill.qty, None, fill.intent_id, fill.ts_fill_ns
    )


def _exact(prices: Mapping[str, float]) -> dict[str, Decimal]:
    return {symbol: _decimal(price) for symbol, price in prices.items()}


def _decimal(value: float) -> Decimal:
    return Decimal(repr(float(value)))
