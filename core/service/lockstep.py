"""Lock-step: separate processes take a replay in the same rounds as the embedded fleet, and so give the same bytes.

The feed's daemon leads. It publishes one market event, then calls round after round: every follower takes
what the round before produced, in the order of producers, and reports what it sent. When a round produces
nothing, the next market event follows. Slow on purpose; for proofs, not for trading.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from core.bus import BusProto
from core.component import Message
from core.errors import FeedError
from core.service.host import ComponentHost
from core.tasks import end_tasks
from core.topics import FLEET, Delivery, row_of

GO: Final = "lockstep.go"
DONE: Final = "lockstep.done"
JOIN_TIMEOUT_S: Final = 30.0  # for every follower to report for the first time
ROUND_TIMEOUT_S: Final = 30.0
_RETRY_S: Final = 0.1

Sent = dict[str, int]  # topic -> last broadcast sequence; LEDGER -> place of the last ledger entry
S = TypeVar("S")
LEDGER: Final = ""
_INDEX_BITS: Final = 20  # events in one transaction, more than any component answers


class Go(msgspec.Struct):
    """Take what ``sent`` names (by producer and topic) and report."""

    step: int
    round: int
    sent: dict[str, Sent]
    end: bool = False


class Done(msgspec.Struct):
    """A follower has finished a round and sent this."""

    daemon: str
    step: int
    round: int
    sent: Sent


def _understood(payload: dict[str, Any], kind: type[S]) -> S:
    """A lock-step message. Raises FeedError: who does not understand the others cannot keep step."""
    try:
        return msgspec.convert(payload, kind)
    except msgspec.ValidationError as error:
        raise FeedError(f"lock-step: expected a {kind.__name__} message, got {payload!r}: {error}") from None


def _numbered(message: Message) -> tuple[str, int]:
    """The channel a message came on and its number there, growing with every message."""
    transaction, index = message.entry
    if transaction:
        return LEDGER, transaction << _INDEX_BITS | index
    return message.topic, message.seq


def sent_by(messages: Iterable[Message]) -> Sent:
    """The last number on every channel among the messages."""
    return dict(_numbered(message) for message in messages)


class Leader:
    """The feed's side."""

    def __init__(self, bus: BusProto, name: str, followers: Sequence[str]) -> None:
        self._bus = bus
        self._name = name
        self._followers = frozenset(followers)
        self._reports: asyncio.Queue[Done] = asyncio.Queue()
        self._listener: asyncio.Task[None] | None = None
        self._step = 0
        self.rounds = 0

    async def start(self) -> None:
        """Wait until every follower is listening. Raises FeedError naming those that are not."""
        self._listener = asyncio.create_task(self._listen())
        missing = set(self._followers)
        deadline = asyncio.get_running_loop().time() + JOIN_TIMEOUT_S
        while missing:
            await self._bus.publish_json(GO, msgspec.to_builtins(Go(0, 0, {})))
            try:
                missing.discard((await asyncio.wait_for(self._reports.get(), _RETRY_S)).daemon)
            except TimeoutError:
                if asyncio.get_running_loop().time() > deadline:
                    raise FeedError(
                        f"lock-step: {', '.join(sorted(missing))} did not report within {JOIN_TIMEOUT_S:.0f} s; "
                        "start each with --lockstep on the same Redis"
                    ) from None

    async def settle(self, messages: Sequence[Message]) -> None:
        """Call rounds until nobody answers any more. Raises FeedError when a follower stays silent."""
        self._step += 1
        sent = {self._name: sent_by(messages)}
        number = 0
        while sent:
            number += 1
            self.rounds += 1
            await self._bus.publish_json(GO, msgspec.to_builtins(Go(self._step, number, sent)))
            sent = await self._collect(number)

    async def _collect(self, number: int) -> dict[str, Sent]:
        missing = set(self._followers)
        sent: dict[str, Sent] = {}
        while missing:
            try:
                done = await asyncio.wait_for(self._reports.get(), ROUND_TIMEOUT_S)
            except TimeoutError:
                raise FeedError(
                    f"lock-step: {', '.join(sorted(missing))} did not finish round {number} of step {self._step} "
                    f"within {ROUND_TIMEOUT_S:.0f} s; look into their logs and start the session again"
                ) from None
            if (done.step, done.round) == (self._step, number):
                missing.discard(done.daemon)
                if done.sent:
                    sent[done.daemon] = done.sent
        return sent

    async def _listen(self) -> None:
        async for payload in self._bus.subscribe(DONE):
            self._reports.put_nowait(_understood(payload, Done))

    async def end(self) -> None:
        """Tell the followers that the feed has ended."""
        await self._bus.publish_json(GO, msgspec.to_builtins(Go(self._step + 1, 0, {}, end=True)))
        if self._listener is not None:
            await end_tasks([self._listener])


class Follower:
    """A daemon's side: turns what arrives at any time into rounds."""

    def __init__(self, bus: BusProto, host: ComponentHost) -> None:
        self._bus = bus
        self._host = host
        self._waiting: defaultdict[str, list[Message]] = defaultdict(list)
        self._got: dict[tuple[str, str], int] = {}
        self._arrived = asyncio.Event()
        self._at: tuple[int, int] = (0, 0)

    def take(self, batch: Sequence[Message]) -> None:
        """Keep what the bus delivered until its round is called."""
        for message in batch:
            self._waiting[message.producer].append(message)
            channel, number = _numbered(message)
            self._got[message.producer, channel] = number
        self._arrived.set()

    async def follow(self, stream: AsyncIterator[list[Message]]) -> None:
        """Take everything that a stream delivers, until it ends."""
        async for batch in stream:
            self.take(batch)

    async def rounds_until(
        self, stopping: asyncio.Event, following: asyncio.Task[None]
    ) -> AsyncIterator[list[Message]]:
        """The rounds, until the daemon is to stop. Raises what ``following`` ended with."""
        rounds = self.rounds()
        stop = asyncio.ensure_future(stopping.wait())
        try:
            while True:
                called = asyncio.ensure_future(anext(rounds, None))
                await asyncio.wait({called, stop, following}, return_when=asyncio.FIRST_COMPLETED)
                if not called.done():
                    called.cancel()
                    if following.done():
                        following.result()
                    return
                batch = called.result()
                if batch is None:
                    return
                yield batch
        finally:
            stop.cancel()

    async def rounds(self) -> AsyncIterator[list[Message]]:
        """The messages of one round after the other, ordered as the embedded fleet orders them."""
        async for payload in self._bus.subscribe(GO):
            go = _understood(payload, Go)
            if go.end:
                return
            if go.step == 0:
                await self.report({})
                continue
            self._at = (go.step, go.round)
            while not self._complete(go.sent):
                self._arrived.clear()
                try:
                    await asyncio.wait_for(self._arrived.wait(), ROUND_TIMEOUT_S)
                except TimeoutError:
                    raise FeedError(
                        f"lock-step: {self._host.name} waits for round {go.round} of step {go.step} since "
                        f"{ROUND_TIMEOUT_S:.0f} s: messages were lost on the way; start the session again"
                    ) from None
            yield self._in_serving_order()

    def _in_serving_order(self) -> list[Message]:
        """The waiting messages, by producer as a round of the embedded fleet serves them; the queues are empty then."""
        producers = sorted(self._waiting, key=lambda name: (FLEET.index(name) if name in FLEET else len(FLEET), name))
        return [message for producer in producers for message in self._waiting.pop(producer)]

    async def report(self, sent: Sent) -> None:
        """Say that the round is finished and what was sent in it."""
        done = Done(self._host.name, *self._at, sent)
        await self._bus.publish_json(DONE, msgspec.to_builtins(done))

    def _complete(self, sent: dict[str, Sent]) -> bool:
        return all(
            self._got.get((producer, topic), 0) >= number
            for producer, topics in sent.items()
            for topic, number in topics.items()
            if self._subscribed(producer, topic)
        )

    def _subscribed(self, producer: str, topic: str) -> bool:
        if topic == LEDGER:
            return producer in self._host.streams
        return row_of(topic).contract in self._host.inputs and row_of(topic).delivery is Delivery.BROADCAST
