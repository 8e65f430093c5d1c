"""The bus server as the fleet sees it: streams, plain keys, hashes, publishing. Synchronous; what is lost on the way
there and back is the link's part.

It keeps no promise that Redis does not keep: it may be emptied, or come back from an older state.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import Final

from core.bus.link import Entry, Outgoing, Reading, Stream, fenced, gap, usurped
from core.entries import NO_ENTRY, EntryId, entry_text

Sink = Callable[[str, bytes], None]
_PLACE: Final = attrgetter("id")


@dataclass(frozen=True)
class ServerState:
    """The contents of the server at one moment, as its append-only file would have them."""

    streams: dict[str, list[Entry]]
    values: dict[str, bytes]
    hashes: dict[str, dict[str, str]]


@dataclass
class Waiting:
    """A read that blocks until one of its streams has something."""

    offsets: Mapping[str, EntryId]
    wake: Callable[[], None]


@dataclass
class SimulatedServer:
    """One server.

    Attributes:
        on_added: called with every entry that a stream takes.
        on_trimmed: called for every stream that loses its oldest entries, with the first one it keeps.
        on_published: called with topic and payload of every message to subscribers.
        published: the number of messages that went to subscribers' topics.
    """

    on_added: Callable[[Entry], None] = field(default=lambda _: None)
    on_trimmed: Callable[[str, EntryId], None] = field(default=lambda _key, _first: None)
    on_published: Callable[[str, bytes], None] = field(default=lambda _topic, _payload: None)
    published: int = 0
    _streams: dict[str, list[Entry]] = field(default_factory=dict)
    _values: dict[str, bytes] = field(default_factory=dict)
    _hashes: dict[str, dict[str, str]] = field(default_factory=dict)
    _waiting: list[Waiting] = field(default_factory=list)
    _subscribers: dict[int, tuple[tuple[str, ...], Sink]] = field(default_factory=dict)
    _next: int = 0
    _routes: dict[str, tuple[Sink, ...]] = field(default_factory=dict)

    # ---- what can happen to a server

    def state(self) -> ServerState:
        """A copy of everything it holds."""
        streams = {key: list(entries) for key, entries in self._streams.items()}
        return ServerState(streams, dict(self._values), deepcopy(self._hashes))

    def become(self, state: ServerState) -> None:
        """Hold what an earlier copy held."""
        self._streams = {key: list(entries) for key, entries in state.streams.items()}
        self._values = dict(state.values)
        self._hashes = deepcopy(state.hashes)

    def flush(self) -> None:
        """Forget every key (FLUSHALL)."""
        self.become(ServerState({}, {}, {}))

    def disconnect_all(self) -> None:
        """Forget who waits and who listens."""
        self._waiting.clear()
        self._subscribers.clear()
        self._routes.clear()

    # ---- plain keys

    def get(self, key: str) -> bytes | None:
        """The value of a key."""
        return self._values.get(key)

    def set(self, key: str, value: bytes | None) -> None:
        """Set a key, or delete it."""
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value

    def claim(self, fence: str, floor: int) -> int:
        """Raise a fence to above what it was, at least to ``floor``."""
        token = max(int(self._values.get(fence, b"0")) + 1, floor)
        self._values[fence] = str(token).encode()
        return token

    def put_field(self, key: str, name: str, value: str) -> None:
        """Set one field of a hash."""
        self._hashes.setdefault(key, {})[name] = value

    def fields(self, key: str) -> dict[str, str]:
        """All fields of a hash."""
        return dict(self._hashes.get(key, {}))

    # ---- streams

    def stream(self, key: str) -> Sequence[Entry]:
        """The entries that a stream has."""
        return self._streams.get(key, ())

    def send(self, messages: Sequence[Outgoing], stream: Stream | None) -> None:
        """Add what is new to the stream and publish it, all or nothing. Raises FencedError, BusGapError."""
        if stream is None:
            for message in messages:
                self.publish(message.topic, message.payload)
            return
        self._check_fence(stream)
        fresh = self._fresh(messages, stream)
        for message in fresh:
            if message.entry != NO_ENTRY:
                added = Entry(stream.key, message.entry, message.prev, stream.ledger, message.topic, message.payload)
                self._streams.setdefault(stream.key, []).append(added)
                self.on_added(added)
        self._wake(stream.key)
        for message in fresh:
            self.publish(message.topic, message.payload)

    def _check_fence(self, stream: Stream) -> None:
        claimed = int(self._values.get(stream.fence, b"0"))
        if claimed > stream.token:
            raise fenced(stream, claimed)
        self._values[stream.fence] = str(stream.token).encode()

    def _fresh(self, messages: Sequence[Outgoing], stream: Stream) -> list[Outgoing]:
        """The messages that the stream does not have yet, and the broadcasts."""
        entries = self._streams.get(stream.key)
        last = entries[-1].id if entries else stream.start
        newest = entries[-1].id if entries else (-1, -1)
        fresh: list[Outgoing] = []
        for message in messages:
            if message.entry != NO_ENTRY:
                if entries and entries[-1].ledger != stream.ledger:
                    raise gap(stream, f"{entry_text(last)} of {entries[-1].ledger}", message.entry, message.prev)
                if message.entry <= newest:
                    if entries and message.entry == entries[-1].id and message.payload != entries[-1].payload:
                        raise usurped(stream, entry_text(message.entry))
                    continue
                if message.prev != last:
                    raise gap(stream, entry_text(last) if entries else "", message.entry, message.prev)
                last = newest = message.entry
            fresh.append(message)
        return fresh

    def newest(self, key: str) -> tuple[EntryId, str]:
        """The newest entry and the identity of its ledger."""
        entries = self._streams.get(key)
        return (entries[-1].id, entries[-1].ledger) if entries else (NO_ENTRY, "")

    def oldest(self, key: str) -> tuple[EntryId, EntryId]:
        """The oldest entry and what came before it."""
        entries = self._streams.get(key)
        return (entries[0].id, entries[0].prev or NO_ENTRY) if entries else (NO_ENTRY, NO_ENTRY)

    def remove(self, key: str) -> None:
        """Forget a stream."""
        self._streams.pop(key, None)

    def trim(self, key: str, first: EntryId) -> None:
        """Forget entries before ``first``."""
        entries = self._streams.get(key, [])
        count = bisect_left(entries, first, key=_PLACE)
        if count:
            del entries[:count]
            self.on_trimmed(key, first)

    def read(self, offsets: Mapping[str, EntryId], watch: str | None, count: int) -> Reading:
        """The entries that the streams have behind the given ones now."""
        entries_read: list[Entry] = []
        for key, place in offsets.items():
            entries = self._streams.get(key)
            if entries and entries[-1].id > place:
                start = bisect_right(entries, place, key=_PLACE)
                entries_read += entries[start : start + count]
        return Reading(entries_read, self._values.get(watch) if watch is not None else None)

    def wait(self, waiting: Waiting) -> None:
        """Wake a read once one of its streams has something behind its places."""
        self._waiting.append(waiting)

    def leave(self, waiting: Waiting) -> None:
        """No longer wake it."""
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def _wake(self, key: str) -> None:
        entries = self._streams.get(key)
        if not entries:
            return
        last = entries[-1].id
        ready = [reader for reader in self._waiting if key in reader.offsets and reader.offsets[key] < last]
        for reader in ready:
            self._waiting.remove(reader)
            reader.wake()

    # ---- publishing

    def subscribe(self, patterns: Iterable[str], sink: Sink) -> int:
        """Hand what is published on the topics to ``sink``; a number to unsubscribe with."""
        self._next += 1
        self._subscribers[self._next] = (tuple(patterns), sink)
        self._routes.clear()
        return self._next

    def unsubscribe(self, number: int) -> None:
        """No longer hand anything to that sink."""
        if self._subscribers.pop(number, None) is not None:
            self._routes.clear()

    def publish(self, topic: str, payload: bytes) -> None:
        """Hand a payload to everybody who listens."""
        self.published += 1
        self.on_published(topic, payload)
        sinks = self._routes.get(topic)
        if sinks is None:
            sinks = self._routes[topic] = tuple(
                sink
                for patterns, sink in self._subscribers.values()
                if any(fnmatchcase(topic, pattern) for pattern in patterns)
            )
        for sink in sinks:
            sink(topic, payload)
