"""The name of an event, from its content alone: what a strategy's answer to it derives its identity from."""

from __future__ import annotations

from core import codec, ids
from core.contracts import BookEvent, ClockTick, Contract, FillEvent, OHLCVBar, OrderUpdate, RiskDecision, TradeEvent
from core.topics import topic_of


def identity_of(event: Contract) -> str:
    """Topic and what names the event on it: equal for the same fact, however often and wherever it is delivered.

    Raises:
        RejectedError: the event has no topic.
    """
    if type(event) is OHLCVBar:  # what most answers are given to
        return f"{topic_of(event)}|{event.ts_open}"
    return f"{topic_of(event)}|{_on_topic(event)}"


def _on_topic(event: Contract) -> str:
    match event:
        case TradeEvent(trade_id=str(trade_id)) if trade_id:
            return f"{event.venue}|{trade_id}"
        case TradeEvent():
            # The time of receipt is left out: it differs between two captures of the same trade.
            return f"{event.venue}|{event.ts}|{event.price!r}|{event.qty!r}|{event.side}"
        case OHLCVBar():
            return str(event.ts_open)
        case BookEvent():
            return f"{event.venue}|{event.last_id}|{event.ts}|{event.checksum}"
        case ClockTick():
            return str(event.ts)
        case FillEvent(fill_id=str(fill_id)) if fill_id:
            return fill_id
        case RiskDecision():
            return event.decision_id or event.intent_id
        case OrderUpdate():
            return f"{event.order_id}|{event.status}|{event.filled_qty!r}|{event.ts_updated_ns}"
        case _:
            return ids.stem(codec.encode(event).decode())
