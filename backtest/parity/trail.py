"""What a run did, intent by intent, out of a session's ledgers, a backtest's result or its messages.

A ``Story`` is one intent with everything that became of it. A result keeps no denied intents and no cancels: its trail
is not ``complete``, and what it cannot tell is not compared.
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
class Story:
    """One intent and what became of it.

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
        """When the strategy asked."""
        return self.intent.ts_local_ns

    @property
    def lane(self) -> tuple[str, str, str]:
        """Strategy, symbol and side: among its like an intent is found by time where ids do not tell."""
        return self.intent.strategy_id, self.intent.symbol, self.intent.side


@dataclass(frozen=True)
class Trail:
    """A run as it is compared.

    Attributes:
        stories: in the order in which they were asked for.
        marks: the last price of each symbol that has one, at which open positions count.
        complete: whether denied intents, cancels and ends of orders are known.
        denied: how many intents were denied.
        stated: profit and loss as the run itself states it, where it does.
        rules: of a backtest's result, what it ran under.
    """

    name: str
    stories: tuple[Story, ...]
    marks: Mapping[str, Decimal] = field(default_factory=dict)
    complete: bool = True
    denied: int = 0
    stated: Decimal | None = None
    remarks: tuple[str, ...] = ()
    rules: BacktestConfig | None = None

    @property
    def fills(self) -> Iterator[FillEvent]:
        """All fills, story by story."""
        return (fill for story in self.stories for fill in story.fills)


def only_of(trail: Trail, strategies: frozenset[str]) -> Trail:
    """The same run as far as some of its strategies go; a remark says so where others are left out."""
    stories = tuple(story for story in trail.stories if story.intent.strategy_id in strategies)
    if len(stories) == len(trail.stories):
        return trail
    others = sorted({story.intent.strategy_id for story in trail.stories} - strategies)
    remark = f"left out {', '.join(others)}, which share its caps and the volume that trades"
    denied = sum(story.decision is not None and not story.decision.allowed for story in stories)
    return replace(trail, stories=stories, denied=denied, remarks=(*trail.remarks, remark))


def trail_of(
    name: str, messages: Iterable[Contract], marks: Mapping[str, float], remarks: tuple[str, ...] = ()
) -> Trail:
    """The trail of messages in any order that keeps each kind's own."""
    stories = _stories(messages)
    denied = sum(story.decision is not None and not story.decision.allowed for story in stories)
    return Trail(name, stories, _exact(marks), denied=denied, remarks=remarks)


def trail_of_session(folder: Path, config: Config, name: str = "") -> Trail:
    """The trail of a recorded session.

    Raises:
        ConfigError: no session there, or none of these instruments.
        LedgerCorruptError, CodecError: its files cannot be read.
    """
    files = SessionFiles.at(folder)
    market = RecordedMarket(files, config.instruments_table())
    return trail_of_ledgers(name or str(folder), files, market.last_prices())


def trail_of_ledgers(
    name: str, files: SessionFiles, marks: Mapping[str, float], remarks: tuple[str, ...] = ()
) -> Trail:
    """The trail of a session's ledgers alone. Raises LedgerCorruptError."""
    return trail_of(name, _messages(files), marks, remarks)


def trail_of_result(result: BacktestResult, name: str = "backtest") -> Trail:
    """The trail of a backtest's result; what is open at its end counts at the price it is marked at there."""
    orders = [OrderEvent.from_dict(plain) for plain in result.orders]
    fills = [FillEvent.from_dict(plain) for plain in result.fills]
    marks = {trip.symbol: trip.price_close for trip in result.round_trips if trip.is_open}
    stated = _decimal(result.final_capital) - _decimal(result.initial_capital)
    stories, rules = _stories([*orders, *fills]), result.config
    if rules is not None and rules.fill_timing is FillTiming.NEXT_TRADE:
        for story in stories:
            story.arrived_ns = story.order.ts_accepted_ns + rules.latency_ns if story.order is not None else 0
    return Trail(
        f"{name}{_fill_rule(rules)}", stories, _exact(marks), False, result.denied, stated, result.warnings, rules
    )


def _fill_rule(rules: BacktestConfig | None) -> str:
    if rules is None:
        return ""
    told = f", fills at {rules.fill_timing}"
    if rules.fill_timing is FillTiming.NEXT_TRADE:
        told += f" by {rules.fill_model}"
        told += f" with {100 * rules.participation:g} % of each trade" if rules.fill_model == "trade_flow" else ""
        told += f", {rules.latency_ns / NS_PER_MS:g} ms later" if rules.latency_ns else ""
    return told


def read_trail(path: Path, config: Config) -> Trail:
    """The trail of a session's folder or a result's JSON file. Raises as ``trail_of_session``."""
    if path.is_dir():
        return trail_of_session(path, config)
    result = result_of(read_json(path, _EXPECTED), path, _EXPECTED)
    try:
        return trail_of_result(result, str(path))
    except _UNREADABLE as error:
        raise ConfigError(f"{path}: expected {_EXPECTED}, got {type(error).__name__}: {error}") from None


def _messages(files: SessionFiles) -> Iterator[Contract]:
    for name in LEDGERS:
        for transaction in ledger.read(files.ledger(name)):
            yield from (event for _, event in transaction.events)


def _stories(messages: Iterable[Contract]) -> tuple[Story, ...]:
    """One story for each intent, in the order of intents; for an order that nobody asked for, one out of itself."""
    by_intent: dict[str, Story] = {}
    by_order: dict[str, Story] = {}
    for message in messages:
        if isinstance(message, OrderIntent):
            by_intent.setdefault(message.intent_id, Story(message))
        elif isinstance(message, RiskDecision):
            story = by_intent.get(message.intent_id)
            if story is not None and story.decision is None:
                story.decision = message
        elif isinstance(message, OrderEvent):
            story = by_intent.setdefault(message.intent_id, Story(_asked(message)))
            story.order, story.decision = message, story.decision or message.decision
            by_order[message.order_id or ids.order_id(message.intent_id)] = story
        elif isinstance(message, FillEvent):
            by_order.setdefault(message.order_id, by_intent.setdefault(message.intent_id, Story(_filled(message))))
            by_order[message.order_id].fills.append(message)
        elif isinstance(message, OrderCancel | OrderUpdate):
            _end(by_order.get(message.order_id) or by_intent.get(_intent_of(message)), message)
    return tuple(by_intent.values())


def _end(story: Story | None, message: OrderCancel | OrderUpdate) -> None:
    if story is None:
        return
    if isinstance(message, OrderCancel):
        story.cancel = story.cancel or message
        return
    story.arrived_ns = story.arrived_ns or message.ts_ns  # what a venue says first of an order, it says when it comes
    if message.done:
        story.ended = message


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
