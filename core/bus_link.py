"""What a bus asks of its server, command by command, without any policy: Redis itself, or a simulated server.

Retries, resuming, holes and back-pressure are ``RedisBus``'s; a ``Link`` only says what happened to one command.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import NamedTuple, Protocol

Entry = tuple[int, int]


class Outgoing(NamedTuple):
    """One message on its way out. An ``entry`` other than ``(0, 0)`` goes to the producer's stream too, behind
    ``prev``."""

    topic: str
    payload: bytes
    entry: Entry = (0, 0)
    prev: Entry = (0, 0)


class Stream(NamedTuple):
    """Where a producer's ledger entries go: the stream's key, the key that fences it, the identity of the ledger, and
    the token that this copy of the producer claimed."""

    key: str
    fence: str
    ledger: str
    token: int


class Incoming(NamedTuple):
    """One entry of a stream as it was found."""

    key: str
    entry: Entry
    prev: Entry
    ledger: str
    topic: str
    payload: bytes


class Reading(NamedTuple):
    """The entries that one read found, and the watched key as it stood when they had arrived."""

    entries: Sequence[Incoming]
    watched: bytes | None


class Link(Protocol):
    """One process's connections to the server.

    Every method raises BusUnavailableError when the server does not answer, and FatalError when it refuses the
    command for good. ``ping``, ``send``, ``newest``, ``remove`` and ``claim`` leave by one connection; after that was
    lost the next of them raises once, before anything is sent: the server may have forgotten what it had.
    """

    async def ping(self) -> None:
        """Return when the server answers."""
        ...

    async def claim(self, fence: str, floor: int) -> int:
        """Make this copy the one whose entries are taken; the token, above ``floor`` and every token before."""
        ...

    async def send(self, messages: Sequence[Outgoing], stream: Stream | None) -> None:
        """Publish messages, in order; those with an entry are added to the stream at the same time, as a whole.

        An entry that the stream has already is not added or published again.

        Raises:
            FencedError: another copy of the producer has claimed the stream since; nothing was added.
            BusGapError: the stream lacks what comes before the first new entry; nothing was added.
        """
        ...

    async def newest(self, key: str) -> tuple[Entry, str]:
        """The newest entry of a stream with the identity of its ledger; ``((0, 0), "")`` when there is none."""
        ...

    async def oldest(self, key: str) -> tuple[Entry, Entry]:
        """The oldest entry of a stream and what came before it; twice ``(0, 0)`` when there is none."""
        ...

    async def remove(self, key: str) -> None:
        """Forget a stream."""
        ...

    async def trim(self, key: str, first: Entry) -> None:
        """Forget the entries of a stream before ``first``; more than asked for may stay."""
        ...

    async def read(self, after: Mapping[str, Entry], watch: str | None, count: int, block_ms: int) -> Reading:
        """Entries of streams, by key, behind the given ones; waits up to ``block_ms`` for one."""
        ...

    def listen(self, patterns: Sequence[str]) -> AsyncGenerator[tuple[str, bytes] | None, None]:
        """What is published on topics or globs from now on, as topic and payload; first None, once subscribed."""
        ...

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish a payload to plain subscribers."""
        ...

    async def get(self, key: str) -> bytes | None:
        """The value of a plain key."""
        ...

    async def put_field(self, key: str, field: str, value: str) -> None:
        """Set one field of a hash."""
        ...

    async def fields(self, key: str) -> dict[str, str]:
        """All fields of a hash."""
        ...

    async def close(self) -> None:
        """Release the connections."""
        ...
