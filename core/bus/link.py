"""The link of a bus to its server, command by command and without any policy: Redis itself, or a simulated server.

Retries, resuming, holes and back-pressure are ``RedisBus``'s; a ``Link`` only says what happened to one command.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from core.entries import NO_ENTRY, EntryId, entry_text
from core.errors import BusGapError, FencedError


class Outgoing(NamedTuple):
    """One message on its way out. An ``entry`` other than ``(0, 0)`` goes to the producer's stream too, behind
    ``prev``."""

    topic: str
    payload: bytes
    entry: EntryId = NO_ENTRY
    prev: EntryId = NO_ENTRY


class Stream(NamedTuple):
    """The stream of a producer as one of its copies writes it.

    Attributes:
        key, fence: the keys of the stream and of its fence.
        ledger: the identity of the ledger.
        token: the one that this copy of the producer claimed.
        start: what a stream without entries may begin behind; nothing else will do.
    """

    key: str
    fence: str
    ledger: str
    token: int
    start: EntryId = NO_ENTRY


class Entry(NamedTuple):
    """An entry of a stream as it was read. A field that it does not name is empty, and ``prev`` None: another hand
    wrote it."""

    key: str
    id: EntryId
    prev: EntryId | None
    ledger: str
    topic: str
    payload: bytes


class Reading(NamedTuple):
    """The entries of one read, and the watched key as it stood when they had arrived."""

    entries: Sequence[Entry]
    watched: bytes | None


class Link(Protocol):
    """One process's connections to the server.

    Every method raises BusUnavailableError when the server does not answer, or not now (loading, read-only, out of
    memory), and FatalError when it refuses the command for good. ``ping``, ``send``, ``newest``, ``oldest``,
    ``remove``, ``trim`` and ``claim`` leave by one connection; after that was lost the next of them raises once, before
    anything is sent: the server may have forgotten what it had.
    """

    async def ping(self) -> None:
        """Return when the server answers."""
        ...

    async def claim(self, fence: str, floor: int) -> int:
        """Make this copy the one whose entries are taken; the token, above ``floor`` and every token before."""
        ...

    async def send(self, messages: Sequence[Outgoing], stream: Stream | None) -> None:
        """Publish messages, in order; those with an entry are added to the stream at the same time, as a whole.

        Only messages with an entry need ``stream``. Given one, first the fence is looked at: a higher token than ours
        means FencedError, a lower or missing one is replaced by ours; that is all that happens without messages.
        An entry that is not above the stream's newest is there already: it is not added or published again. Every
        other entry must have as ``prev`` the newest entry at its turn, or ``stream.start`` when there is none.

        Raises:
            FencedError: another copy of the producer has claimed the stream since; nothing was added or published.
            BusGapError: the stream lacks what comes before a new entry, its newest entry comes from another ledger,
                or it cannot take the entry's number; nothing was added or published.
        """
        ...

    async def newest(self, key: str) -> tuple[EntryId, str]:
        """The newest entry of a stream with the identity of its ledger; ``((0, 0), "")`` when there is none. The
        identity is empty when the entry has none."""
        ...

    async def oldest(self, key: str) -> tuple[EntryId, EntryId]:
        """The oldest entry of a stream and what came before it; twice ``(0, 0)`` when there is none."""
        ...

    async def remove(self, key: str) -> None:
        """Forget a stream."""
        ...

    async def trim(self, key: str, first: EntryId) -> None:
        """Forget the entries of a stream before ``first``; more than asked for may stay."""
        ...

    async def read(self, offsets: Mapping[str, EntryId], watch: str | None, count: int, block_ms: int) -> Reading:
        """Entries of streams, by key, behind the given ones, at most ``count`` of each; waits up to ``block_ms`` for
        one. The entries of one stream come in order."""
        ...

    def listen(self, patterns: Sequence[str]) -> AsyncGenerator[tuple[str, bytes] | None, None]:
        """The publications on topics or globs from now on, as topic and payload; first None, once subscribed to all
        of them. Close it when done."""
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
        """Release the connections; takes a few seconds at most, whatever state they are in."""
        ...


def fenced(stream: Stream, token: int) -> FencedError:
    """The error for a fence that holds a higher token than ours, which is the time of a claim in ms."""
    daemon = stream.fence.rpartition(":")[2]
    since = datetime.fromtimestamp(token / 1000, UTC).isoformat(timespec="milliseconds")
    return FencedError(
        f"another copy of {daemon} has taken over since {since}; this one ends, and nothing of what it had to send "
        f"was sent. Expected one copy of {daemon}: see that nothing starts a second one"
    )


def usurped(stream: Stream, entry: str) -> FencedError:
    """The error for a stream that has another entry under our number: the server forgot who may send."""
    return FencedError(
        f"{stream.key} has another entry {entry} than ours: another copy wrote it while Redis had forgotten the key "
        f"{stream.fence}. Expected one copy, and a server that does not evict keys (maxmemory-policy noeviction). Stop "
        f"both, keep the ledger that the other daemons have followed, remove the other, and start one"
    )


def gap(stream: Stream, newest: str, entry: EntryId, prev: EntryId) -> BusGapError:
    """The error for a stream that lacks ``prev``; its newest entry is given as text."""
    return BusGapError(
        f"{stream.key} lacks what comes before {entry_text(entry)}: expected {entry_text(prev)} of the ledger "
        f"{stream.ledger}, got {newest or 'nothing'}; the server was emptied or came back from an older state"
    )
