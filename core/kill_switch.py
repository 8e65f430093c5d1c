"""The kill switch: a file on the machine and a key in Redis. Either one, tripped, stops trading.

In doubt it counts as tripped: a file that cannot be looked at, a key with an unexpected value. Only a Redis that does
not answer is reported separately, because the caller may still know the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.clock import Clock, SystemClock
from core.errors import BusUnavailableError, FatalError
from core.redis_address import RedisAddress, RedisAddressError, shown_address

if TYPE_CHECKING:
    from redis.asyncio import Redis

DEFAULT_FILE: Final = "/tmp/njord_killswitch"
DEFAULT_KEY: Final = "njord:killswitch"
TIMEOUT_S: Final = 2.0  # a switch that takes longer to answer is out of reach
_REASON_SUFFIX: Final = ":reason"
_MAX_REASON: Final = 1000  # characters
_MAX_REASON_BYTES: Final = 8192


@dataclass(frozen=True, slots=True)
class Trip:
    """Why and when the switch was tripped; empty and 0 where it was tripped by hand, with ``touch`` or ``SET``."""

    reason: str = ""
    ts_ns: int = 0
    pid: int = 0


def file_tripped(path: str | Path) -> bool:
    """True if the switch file exists, in any form. A path that cannot be looked at counts as existing."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except (OSError, ValueError):  # permission denied, a file in place of a folder, a NUL in the path
        return True
    return True


def trip_file(path: str | Path, reason: str = "", *, clock: Clock | None = None) -> None:
    """Create the switch file. A switch that is tripped already keeps its first reason.

    Raises:
        FatalError: the file cannot be created, so that trading is *not* stopped by it.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return
    except OSError as error:
        raise _not_done(target, "created", error.strerror or str(error)) from None
    # From here on the switch is tripped; the reason is for people and must not undo that on a full disk.
    try:
        with suppress(OSError):
            os.write(handle, _encoded(reason, clock) + b"\n")
            os.fsync(handle)
    finally:
        os.close(handle)


def read_file(path: str | Path) -> Trip | None:
    """Why the file was tripped, or None while it is not."""
    if not file_tripped(path):
        return None
    try:
        with open(path, "rb") as file:
            return _decoded(file.read(_MAX_REASON_BYTES))
    except (OSError, ValueError):
        return Trip()


def clear_file(path: str | Path) -> None:
    """Remove the switch file; a missing one is fine.

    Raises:
        FatalError: it cannot be removed, so that trading stays stopped.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _not_done(Path(path), "removed", error.strerror or str(error)) from None


def value_trips(value: bytes | str | None) -> bool:
    """True if this value of the Redis key trips the switch: any but none, empty and ``0``."""
    return value not in (None, b"", "", b"0", "0")


async def redis_tripped(url: str, key: str, *, client: Redis | None = None) -> bool:
    """True if the Redis key is set. ``client`` saves a connection per question.

    Raises:
        BusUnavailableError: Redis does not answer; the caller decides what follows from that.
    """
    from redis.exceptions import ResponseError

    async with _connected(url, client) as redis:
        try:
            return value_trips(await redis.get(key))
        except ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                return True  # a list or a hash: somebody meant something by it
            raise


async def read_redis(url: str, key: str, *, client: Redis | None = None) -> Trip | None:
    """Why the key was tripped, or None while it is not. Raises BusUnavailableError."""
    async with _connected(url, client) as redis:
        if not await redis_tripped(url, key, client=redis):
            return None
        return _decoded(await redis.get(key + _REASON_SUFFIX) or b"")


async def trip_redis(
    url: str, key: str, reason: str = "", *, clock: Clock | None = None, client: Redis | None = None
) -> None:
    """Set the Redis key to ``1``. A switch that is tripped already keeps its first reason.

    Raises:
        BusUnavailableError: Redis does not answer, so that trading is *not* stopped by it.
    """
    async with _connected(url, client) as redis:
        if not await redis_tripped(url, key, client=redis):
            await redis.set(key, "1")
            await redis.set(key + _REASON_SUFFIX, _encoded(reason, clock))


async def clear_redis(url: str, key: str, *, client: Redis | None = None) -> None:
    """Delete the Redis key. Raises BusUnavailableError, and then trading may stay stopped."""
    async with _connected(url, client) as redis:
        await redis.delete(key + _REASON_SUFFIX, key)


@asynccontextmanager
async def _connected(url: str, client: Redis | None) -> AsyncIterator[Redis]:
    """A client for one question, with the errors of Redis as ours."""
    from redis.asyncio import Redis as Client  # here: a question about the file alone never loads it
    from redis.exceptions import RedisError

    owned = None
    try:
        if client is None:
            address = RedisAddress.parse(url)
            client = owned = Client.from_url(address.url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
        yield client
    except (RedisError, OSError, ValueError) as error:
        reason = str(error) if isinstance(error, RedisAddressError) else f"{type(error).__name__}: {error}"
        raise BusUnavailableError(
            f"kill switch: expected an answer of Redis at {shown_address(url)}, got {reason.rstrip('.')}. "
            "Start Redis or correct redis.url; the file switch works without it."
        ) from None
    finally:
        if owned is not None:
            with suppress(RedisError, OSError):
                await owned.aclose()


def _not_done(path: Path, action: str, reason: str) -> FatalError:
    return FatalError(
        f"kill switch file {path} cannot be {action}: {reason}. Correct the permissions of {path.parent}."
    )


def _encoded(reason: str, clock: Clock | None) -> bytes:
    ts_ns = (clock or SystemClock()).now_ns()
    return json.dumps({"reason": reason[:_MAX_REASON], "ts_ns": ts_ns, "pid": os.getpid()}).encode()


def _decoded(raw: bytes | str) -> Trip:
    """The trip out of its written form; text that somebody wrote by hand is taken as the reason."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    try:
        trip = json.loads(text)
        return Trip(str(trip["reason"])[:_MAX_REASON], int(trip["ts_ns"]), int(trip["pid"]))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return Trip(text.strip()[:_MAX_REASON])
