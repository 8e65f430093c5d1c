"""The bus as a strategy gets it: it may listen to everything and publish on topics of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from core import topics
from core.bus import BusProto, Subscription
from core.component import Message
from core.errors import RejectedError


class ListeningBus:
    """Refuses the fleet's topics: what a strategy wants traded goes through the risk engine or nowhere."""

    def __init__(self, bus: BusProto) -> None:
        self._bus = bus

    async def publish_json(self, topic: str, payload: dict[str, Any]) -> None:
        """Publish on a topic of one's own. Raises RejectedError for one of the fleet's."""
        if any(fnmatchcase(topic, row.pattern) for row in topics.TABLE):
            raise _refusal(topic)
        await self._bus.publish_json(topic, payload)

    def subscribe(self, topic: str) -> AsyncIterator[dict[str, Any]]:
        """Payloads of a topic from now on."""
        return self._bus.subscribe(topic)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Raises RejectedError: typed messages are the fleet's."""
        raise _refusal(", ".join(message.topic for message in messages))

    def consume(self, subscription: Subscription) -> AsyncGenerator[list[Message], Sequence[Message] | None]:
        """Typed messages in batches."""
        return self._bus.consume(subscription)

    async def close(self) -> None:
        """Nothing: the bus belongs to the host."""


def _refusal(topic: str) -> RejectedError:
    return RejectedError(
        f"a strategy may not publish on {topic!r}: expected an OrderIntent or OrderCancel returned from on_event, "
        "which the host records and sends to the risk engine"
    )
