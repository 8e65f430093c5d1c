"""One daemon's connections to the simulated server: every command travels there and back, and may be lost."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar

from backtest.simulation.world.network import RESET_S, Network
from backtest.simulation.world.server import SimulatedServer, Waiting
from core.bus.link import Outgoing, Reading, Stream
from core.entries import EntryId
from core.errors import BusUnavailableError, NjordError

T = TypeVar("T")
LATE_S: Final = 0.4  # at most, of a delayed broadcast
REDELIVERED: Final = 5  # entries, at most, that a read goes back


class Mortal(Protocol):
    """Whose link or disk it is."""

    alive: bool

    def touch(self, effect: str) -> None:
        """About to have an effect outside the process. Raises the crash that ends it, from then on every time."""
        ...


class SimulatedLink:
    """A ``core.bus.link.Link``.

    Args:
        owner: may crash at every command.
        server: where commands take effect.
        network: what happens to them on the way.
        timeout_s: how long an answer may take.
    """

    def __init__(self, owner: Mortal, server: SimulatedServer, network: Network, *, timeout_s: float = 5.0) -> None:
        self.server = server
        self.network = network
        self.timeout_s = timeout_s
        self.under_way: dict[_Call[Any], None] = {}
        self._owner = owner
        self._sent_before = False
        self._lost_unseen = False  # the sending connection was lost and nobody was told
        self._listening: dict[int, _Listener] = {}
        self._closed = False
        network.links[self] = None

    # ---- by the one connection that sends

    async def ping(self) -> None:
        """Return when the server answers."""
        await self._command("ping", lambda: None, sending=True)

    async def claim(self, fence: str, floor: int) -> int:
        """Claim a stream; the token."""
        return await self._command("claim", lambda: self.server.claim(fence, floor), sending=True)

    async def send(self, messages: Sequence[Outgoing], stream: Stream | None) -> None:
        """Add and publish messages."""
        batch = tuple(messages)
        await self._command("send", lambda: self.server.send(batch, stream), sending=True)

    async def newest(self, key: str) -> tuple[EntryId, str]:
        """The newest entry of a stream."""
        return await self._command("newest", lambda: self.server.newest(key), sending=True)

    async def remove(self, key: str) -> None:
        """Forget a stream."""
        await self._command("remove", lambda: self.server.remove(key), sending=True)

    async def oldest(self, key: str) -> tuple[EntryId, EntryId]:
        """The oldest entry of a stream."""
        return await self._command("oldest", lambda: self.server.oldest(key), sending=True)

    async def trim(self, key: str, first: EntryId) -> None:
        """Forget the entries before ``first``."""
        await self._command("trim", lambda: self.server.trim(key, first), sending=True)

    # ---- by any other

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish to plain subscribers."""
        await self._command("publish", lambda: self.server.publish(topic, payload))

    async def get(self, key: str) -> bytes | None:
        """The value of a key."""
        return await self._command("get", lambda: self.server.get(key))

    async def put_field(self, key: str, field: str, value: str) -> None:
        """Set one field of a hash."""
        await self._command("put_field", lambda: self.server.put_field(key, field, value))

    async def fields(self, key: str) -> dict[str, str]:
        """All fields of a hash."""
        return await self._command("fields", lambda: self.server.fields(key))

    async def read(self, offsets: Mapping[str, EntryId], watch: str | None, count: int, block_ms: int) -> Reading:
        """Entries behind the given ones, blocking."""
        self._owner.touch("read")
        self._refuse_closed()
        places = self._earlier(offsets) if self.network.befalls("redeliver") else dict(offsets)
        return await _Read(self, places, watch, count, block_ms).answer

    async def listen(self, patterns: Sequence[str]) -> AsyncGenerator[tuple[str, bytes] | None, None]:
        """The messages that are published from now on."""
        listener = _Listener(self.network)
        number = await self._command("subscribe", lambda: self.server.subscribe(patterns, listener.hear))
        self._listening[number] = listener
        try:
            yield None
            while True:
                yield await listener.take()
        finally:
            self.server.unsubscribe(number)
            self._listening.pop(number, None)

    async def close(self) -> None:
        """Release the connections."""
        self._owner.touch("close")
        self.abandon()

    # ---- what may happen to it

    def cut(self) -> None:
        """Lose every connection: what was under way has an unknown outcome, which of two is drawn."""
        self._lost_unseen = self._lost_unseen or self._sent_before
        for call in list(self.under_way):
            self._lost_unseen = self._lost_unseen and not call.sending
            call.fail("the connection was lost")
        for listener in list(self._listening.values()):
            listener.lose(BusUnavailableError("the connection to the simulated server was lost"))

    def stall(self) -> None:
        """The server stopped answering: what is under way will not be answered in time."""
        loop = asyncio.get_running_loop()
        for call in self.under_way:
            loop.call_later(self.timeout_s, call.expire)

    def abandon(self) -> None:
        """Close every connection without waiting for anything."""
        self._closed = True
        self.network.links.pop(self, None)
        for call in list(self.under_way):
            call.drop()
        for number, listener in list(self._listening.items()):
            self.server.unsubscribe(number)
            listener.lose(BusUnavailableError("the link is closed"))

    # ---- inside

    async def _command(self, name: str, do: Callable[[], T], *, sending: bool = False) -> T:
        self._owner.touch(name)
        self._refuse_closed()
        if sending and self._lost_unseen:
            self._lost_unseen = False
            raise BusUnavailableError("the sending connection to the simulated server was lost")
        call = _Call(self, do, sending)
        self._sent_before = self._sent_before or sending
        return await call.answer

    def _refuse_closed(self) -> None:
        if self._closed:
            raise BusUnavailableError("the link is closed")

    def _earlier(self, offsets: Mapping[str, EntryId]) -> dict[str, EntryId]:
        places = dict(offsets)
        key = self.network.random.choice(sorted(places))
        earlier = [entry.id for entry in self.server.stream(key) if entry.id < places[key]][-REDELIVERED:]
        if earlier:
            places[key] = self.network.random.choice(earlier)
        return places


class _Call(Generic[T]):
    """One command under way: there, executed, and back."""

    def __init__(self, link: SimulatedLink, do: Callable[[], T], sending: bool = False) -> None:
        self.sending = sending
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[T] = self._loop.create_future()
        self._link = link
        self._network = link.network
        self._do = do
        self._stray = False  # the connection is lost, and with it what did not arrive yet
        link.under_way[self] = None
        self._loop.call_later(self._network.latency_s(), self._arrive)

    def fail(self, why: str) -> None:
        """The connection is lost."""
        self._stray = self._network.random.random() < 0.5
        self._end(partial(_raise, self.answer, BusUnavailableError(f"the simulated server: {why}")), RESET_S)

    def drop(self) -> None:
        """Nobody waits for the answer any more; what is on its way may arrive all the same."""
        self._stray = self._network.random.random() < 0.5
        self._link.under_way.pop(self, None)
        self.answer.cancel()

    def expire(self) -> None:
        """No answer came in time; the command may yet be executed."""
        if not self.answer.done():
            self._end(partial(_raise, self.answer, BusUnavailableError("the simulated server does not answer")), 0.0)

    def _arrive(self) -> None:
        if self._stray:
            return
        network = self._network
        if network.frozen:
            network.backlog.append(self._arrive)
            self._loop.call_later(self._link.timeout_s, self.expire)
        elif network.down:
            self._end(partial(_raise, self.answer, BusUnavailableError("the simulated server is down")), RESET_S)
        elif network.befalls("lose_question"):
            self._stray = True
            self._end(partial(_raise, self.answer, BusUnavailableError("the connection was lost")), RESET_S)
        else:
            self._execute()

    def _execute(self) -> None:
        try:
            done = partial(_give, self.answer, self._do())
        except NjordError as error:
            done = partial(_raise, self.answer, error)
        self._reply(done)

    def _reply(self, done: Callable[[], None]) -> None:
        if self._network.befalls("lose_answer"):
            done = partial(_raise, self.answer, BusUnavailableError("the connection was lost"))
        self._end(done, self._network.latency_s())

    def _end(self, done: Callable[[], None], after_s: float) -> None:
        self._link.under_way.pop(self, None)
        self._loop.call_later(after_s, done)


class _Read(_Call[Reading]):
    """A read that waits at the server for something to come."""

    def __init__(
        self, link: SimulatedLink, places: Mapping[str, EntryId], watch: str | None, count: int, block_ms: int
    ) -> None:
        server = link.server
        super().__init__(link, lambda: server.read(places, watch, count))
        self._server = server
        self._block_s = block_ms / 1000
        self._waiting = Waiting(places, self._wake)
        self._timer: asyncio.TimerHandle | None = None

    def _execute(self) -> None:
        reading = self._do()
        if reading.entries or not self._block_s:
            self._reply(partial(_give, self.answer, reading))
            return
        self._server.wait(self._waiting)
        self._timer = self._loop.call_later(self._block_s, self._wake)

    def _wake(self) -> None:
        if self._network.frozen:
            self._network.backlog.append(self._wake)
            return
        if self in self._link.under_way:
            self._reply(partial(_give, self.answer, self._do()))

    def _end(self, done: Callable[[], None], after_s: float) -> None:
        self._leave()
        super()._end(done, after_s)

    def drop(self) -> None:
        self._leave()
        super().drop()

    def _leave(self) -> None:
        self._server.leave(self._waiting)
        if self._timer is not None:
            self._timer.cancel()


class _Listener:
    """One connection that is published to: in order, unless the weather says otherwise."""

    def __init__(self, network: Network) -> None:
        self._loop = asyncio.get_running_loop()
        self._network = network
        self._arriving: deque[tuple[float, str, bytes]] = deque()
        self._armed = False
        self._arrived: deque[tuple[str, bytes]] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._lost: BusUnavailableError | None = None

    def hear(self, topic: str, payload: bytes) -> None:
        """The server publishes."""
        network = self._network
        if network.befalls("drop"):
            return
        if network.befalls("duplicate"):
            self._travel(topic, payload)
        if network.befalls("reorder"):
            self._loop.call_later(network.random.random() * LATE_S, self._arrive, topic, payload)
        else:
            self._travel(topic, payload)

    def lose(self, error: BusUnavailableError) -> None:
        """The connection is lost with everything on its way."""
        self._lost = error
        self._arriving.clear()
        self._arrived.clear()
        self._ring()

    async def take(self) -> tuple[str, bytes]:
        """The next message. Raises BusUnavailableError once the connection is lost."""
        while not self._arrived:
            if self._lost is not None:
                raise self._lost
            self._waiting = self._loop.create_future()
            await self._waiting
        return self._arrived.popleft()

    def _travel(self, topic: str, payload: bytes) -> None:
        when = self._loop.time()
        if not self._arriving:
            when += self._network.latency_s()
        if self._network.befalls("delay"):
            when += self._network.random.random() * LATE_S
        if self._arriving:
            when = max(when, self._arriving[-1][0])
        self._arriving.append((when, topic, payload))
        if not self._armed:
            self._armed = True
            self._loop.call_at(when, self._come)

    def _come(self) -> None:
        now = self._loop.time()
        while self._arriving and self._arriving[0][0] <= now:
            _, topic, payload = self._arriving.popleft()
            self._arrive(topic, payload)
        self._armed = bool(self._arriving)
        if self._armed:
            self._loop.call_at(self._arriving[0][0], self._come)

    def _arrive(self, topic: str, payload: bytes) -> None:
        if self._lost is None:
            self._arrived.append((topic, payload))
            self._ring()

    def _ring(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def _give(answer: asyncio.Future[T], value: T) -> None:
    if not answer.done():
        answer.set_result(value)


def _raise(answer: asyncio.Future[Any], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
