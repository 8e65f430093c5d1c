"""Every command line of the documentation does what it says: each is typed for real, shortened where it would run long.

``HOW`` names the way for each of them. A command without one fails here, and so does a way without its command.
"""

from __future__ import annotations

import gzip
import re
import shutil
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import pytest

from scripts.run_redis import server_binary
from tests.support import documentation
from tests.support.redis_server import RedisServer, spare_port
from tests.support.typed_commands import TypedCommands

QUICKLY: Final = "ARGS=--no-again"
HALF_AN_HOUR: Final = 30
ONE_FILE: Final = "ARGS=tests/core/test_retry.py"
BACKTEST: Final = (
    ".venv/bin/python -m backtest.runner --strategy sma_cross_v1 --symbol BTC/USDT --journals var/runs/monday/journals"
    " --param qty=0.02 --param fast=3 --param slow=8 --fill next_open --report"
)
SWEEP: Final = (
    ".venv/bin/python -m backtest.param_sweep --strategy sma_cross_kernel_v1 --symbol BTC/USDT"
    " --journals var/runs/monday/journals"
    ' --param qty=0.02 --param fast=2..6..2 --param slow=4..12..4 --where "fast < slow" --fill next_open --no-risk'
)
HONESTY: Final = (
    ".venv/bin/njord-ctl honesty --strategy sma_cross_v1 --symbol BTC/USDT --journals var/runs/monday/journals"
    " --param qty=0.02 --param fast=3 --param slow=8 --fill next_open --cuts 6 --starts 3"
)
LINT: Final = (
    ".venv/bin/njord-ctl lint-backtest var/backtest/result_sma_cross_v1_BTCUSDT.json"
    " --journals var/runs/monday/journals"
)
BACKTEST_ON_TRADES: Final = (
    ".venv/bin/python -m backtest.runner --strategy trendline_break_v1 --symbol BTC/USDT --journals "
    "var/runs/monday/journals --fill next_trade --fill-model trade_flow --participation 0.5"
)
SWEEP_KEEPING_RETURNS: Final = SWEEP.replace("python -m backtest.param_sweep", "njord-ctl sweep") + " --pbo"
LINT_A_SWEEP: Final = (
    ".venv/bin/njord-ctl lint-backtest var/backtest/sweep_results.json --journals var/runs/monday/journals"
)
RUN_MONDAY: Final = "make run ARGS='--out var/runs/monday'"
LEDGER: Final = "var/ledger/risk_engine.ndjson"
PROVEN: Final = ("PASS  data", "PASS  gaps", "PASS  ledgers", "PASS  positions")
CAPTURE: Final = (
    b'1723075200100000000 {"e":"trade","E":1723075200090,"s":"BTCUSDT","t":1,"p":"61000.00","q":"0.01000",'
    b'"T":1723075200089,"m":true,"M":true}\n'
    b'1723075200200000000 {"e":"trade","E":1723075200190,"s":"BTCUSDT","t":2,"p":"61000.01","q":"0.02000",'
    b'"T":1723075200189,"m":false,"M":true}\n'
)

Way = Callable[[TypedCommands, str], None]


@pytest.fixture
def typed(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> TypedCommands:
    commands = TypedCommands(tmp_path / "njord")
    commands.recordings = tmp_path_factory.getbasetemp() / "documented"
    return commands


@pytest.fixture
def with_redis(typed: TypedCommands, redis_url: str) -> TypedCommands:
    typed.environ["NJORD_REDIS__URL"] = redis_url
    return typed


# --- the ways


def run_synthetic(typed: TypedCommands, command: str) -> None:
    assert_proven(typed.run(command, "FEED=synthetic:42:2"))


def run_seed(typed: TypedCommands, command: str) -> None:
    assert_proven(typed.run(command, "FEED=synthetic:7:2", QUICKLY))


def run_capture(typed: TypedCommands, command: str) -> None:
    (typed.folder / "capture.raw.gz").write_bytes(gzip.compress(CAPTURE))
    first = typed.run(command)
    assert_proven(first)
    assert "2 trades" in first
    again = re.search(r"make (run FEED='[^']*')", first)
    assert again is not None, first
    assert "2 trades" in typed.run(f"make {again[1]}", QUICKLY)


def run_live(typed: TypedCommands, command: str) -> None:
    simulated = [".venv/bin/python -m apps.venue_sim --rate 100 --no-key-required"]
    with typed.start(*simulated) as venue:
        venue.until_said("export NJORD_EXCHANGE__URLS=")
        found = re.search(r"export NJORD_EXCHANGE__URLS='(.*)'", venue.output)
        assert found is not None
        typed.environ["NJORD_EXCHANGE__URLS"] = found[1]
        with typed.start(command) as fleet:
            fleet.until(typed.folder, "var/runs/*/journals/md.trades.BTCUSDT.ndjson")
            assert fleet.end(signal.SIGINT) == 0, fleet.output
            assert "live from binanceus" in fleet.output
            assert_proven(fleet.output)


def run_daemon(typed: TypedCommands, command: str) -> None:
    port = spare_port()
    options = f"--port {port} --speed 1x" if "run-md" in command else f"--port {port}"
    with typed.start(command, f"ARGS={options}") as daemon:
        daemon.until_ready(port)
        assert daemon.end() == 0, daemon.output


def run_redis(typed: TypedCommands, command: str) -> None:
    if server_binary("redis") is None and server_binary("valkey") is None:
        pytest.skip("no real server on this machine")
    probe = RedisServer()
    probe.port = spare_port()
    typed.environ["NJORD_REDIS__URL"] = probe.url
    with typed.start(command) as server:
        server.until_said("Ready to accept connections")
        assert probe.command("PING") == "PONG"
        assert (typed.folder / "var" / "redis").is_dir()
        assert server.end() == 0, server.output
    probe.close()


def follow_in_lockstep(typed: TypedCommands, command: str) -> None:
    port = spare_port()
    with typed.start(command, "--port", str(port)) as daemon:
        daemon.until_ready(port)
        assert daemon.end() == 0, daemon.output


def lead_in_lockstep(typed: TypedCommands, command: str) -> None:
    port = spare_port()
    with typed.start(".venv/bin/python -m apps.risk_engine --lockstep", "--port", str(port)) as follower:
        follower.until_ready(port)
        short = command.replace("synthetic:7:5", "synthetic:7:1")
        with typed.start(short, "--port", "0", "--followers", "risk_engine") as leader:
            assert leader.wait() == 0, leader.output
        assert follower.wait() == 0, follower.output
    assert (typed.folder / "var" / "log" / "njord" / "md.trades.BTCUSDT.ndjson").stat().st_size


def trip(typed: TypedCommands, command: str) -> None:
    typed.run(command)
    assert typed.kill_switch.exists()


def check(typed: TypedCommands, command: str) -> None:
    typed.run(command)
    typed.kill_switch.parent.mkdir(exist_ok=True)
    typed.kill_switch.touch()
    assert "TRIPPED" in typed.run(command, status=2)  # make's own status for a recipe that failed


def clear(typed: TypedCommands, command: str) -> None:
    typed.run("make run-kill-trip")
    typed.run(command)
    assert not typed.kill_switch.exists()


def record(typed: TypedCommands, minutes: int = 6) -> Path:
    """A session under ``var/runs/monday``; recorded once for all commands that are typed on it."""
    session, kept = typed.folder / "var" / "runs" / "monday", typed.recordings / str(minutes)
    if kept.exists():
        shutil.copytree(kept, session)
    else:
        assert_proven(typed.run(RUN_MONDAY.replace("'--out", "'--no-again --out"), f"FEED=synthetic:42:{minutes}"))
        shutil.copytree(session, kept)
    return session


def ask_the_ledger(typed: TypedCommands, command: str) -> None:
    session = record(typed)
    (typed.folder / LEDGER).parent.mkdir(parents=True)
    (session / "ledgers" / "risk_engine.ndjson").rename(typed.folder / LEDGER)
    said = typed.run(command)
    assert "risk.decisions" in said if " show " in command else "risk_engine.ndjson" in said


def ask_for_the_state(typed: TypedCommands, command: str) -> None:
    shutil.move(record(typed) / "ledgers", typed.folder / "var" / "ledger")
    said = typed.run(command)
    assert "3 ledgers in var/ledger: every chain holds" in said
    assert all(f"\n{name}" in said for name in ("strategy_runner", "risk_engine  ACTIVE", "paper_trader  ACTIVE"))


def run_monday(typed: TypedCommands, command: str) -> None:
    assert_proven(typed.run(command.replace("'--out", "'--no-again --out"), "FEED=synthetic:42:6"))
    assert (typed.folder / "var" / "runs" / "monday" / "ledgers" / "risk_engine.ndjson").exists()


def compare_with_a_replay(typed: TypedCommands, command: str) -> None:
    record(typed)
    assert "no differences" in typed.run(command)


def backtest_on_trades(typed: TypedCommands, command: str) -> None:
    record(typed)
    assert "of which at most 50 % goes to orders" in typed.run(command)


def compare_with_a_backtest(typed: TypedCommands, command: str) -> None:
    backtest_on_trades(typed, BACKTEST_ON_TRADES)
    assert "no differences" in typed.run(command)


def compare_two_sessions(typed: TypedCommands, command: str) -> None:
    shutil.copytree(record(typed), typed.folder / "var" / "runs" / "tuesday")
    assert "no differences" in typed.run(command)


def backtest(typed: TypedCommands, command: str) -> None:
    record(typed, HALF_AN_HOUR)
    assert "Fills:          at the open of the bar after" in typed.run(command)
    assert (typed.folder / "var" / "backtest" / "report_sma_cross_v1_BTCUSDT.html").stat().st_size > 100_000


def lint_a_backtest(typed: TypedCommands, command: str) -> None:
    backtest(typed, BACKTEST)
    assert "findings" in typed.run(command)


def look_for_foresight(typed: TypedCommands, command: str) -> None:
    record(typed, HALF_AN_HOUR)
    assert "Verdict:        honest" in typed.run(command)


def sweep(typed: TypedCommands, command: str) -> None:
    record(typed, HALF_AN_HOUR)
    assert "Best by:        sharpe_ratio" in typed.run(command)


def sweep_keeping_returns(typed: TypedCommands, command: str) -> None:
    record(typed, HALF_AN_HOUR)
    assert "\nOverfitting:    " in typed.run(command)


def lint_a_sweep(typed: TypedCommands, command: str) -> None:
    sweep_keeping_returns(typed, SWEEP_KEEPING_RETURNS)
    said = typed.run(command)
    assert "[none_gained]" in said or "what luck alone gives in" in said
    assert "[returns_missing]" not in said
    assert "holding" in said


def ask_the_configuration(typed: TypedCommands, command: str) -> None:
    assert "configuration is sound" in typed.run(command)


def list_targets(typed: TypedCommands, command: str) -> None:
    assert "run-kill-trip" in typed.run(command)


def list_subcommands(typed: TypedCommands, command: str) -> None:
    said = typed.run(command)
    assert all(name in said for name in ("ledger", "kill", "config", "diff"))


def rehearse_a_little(typed: TypedCommands, command: str) -> None:
    assert "violations     none" in typed.run(command, "ARGS=--seeds 2 --minutes 0.2")


def run_some_tests(typed: TypedCommands, command: str) -> None:
    assert "passed" in typed.run(command, "WORKERS=0", ONE_FILE)


def collect_some_tests(typed: TypedCommands, command: str) -> None:
    assert "tests collected" in typed.run(command, "WORKERS=0", "ARGS=--collect-only tests/system/test_restarts.py")


def work_on_the_code(typed: TypedCommands, command: str) -> None:
    """All four at once; only one file has its types checked, and only one file of tests is run."""
    untidy = typed.folder / "scripts" / "untidy.py"
    untidy.write_text('"""Not formatted yet."""\nX   =  (1,)\n')
    types = typed.folder / "mypy.ini"
    types.write_text(re.sub(r"(?m)^packages = .*$", "files = core/errors.py", types.read_text()))
    said = typed.run(command, "WORKERS=0", ONE_FILE)
    assert untidy.read_text() == '"""Not formatted yet."""\n\nX = (1,)\n'
    assert "no issues found in 1 source file" in said
    assert "passed" in said


HOW: Final[dict[str, Way]] = {
    "make run": run_synthetic,
    "make run FEED=synthetic:7": run_seed,
    "make run FEED=capture.raw.gz": run_capture,
    "make run VENUE=binanceus SYMBOL=BTC/USDT": run_live,
    "make test": run_some_tests,
    "make test-all": run_some_tests,
    "make test-rest": collect_some_tests,
    "make test ARGS=tests/risk": run_some_tests,
    "make test ARGS='-k kill_switch'": run_some_tests,
    "make test ARGS=--durations=25": run_some_tests,
    "make test ARGS=tests/core/service/test_host_component.py": run_some_tests,
    "make rehearse": rehearse_a_little,
    "make help": list_targets,
    ".venv/bin/njord-ctl --help": list_subcommands,
    ".venv/bin/njord-ctl config check": ask_the_configuration,
    ".venv/bin/njord-ctl ledger state": ask_for_the_state,
    f".venv/bin/njord-ctl ledger verify {LEDGER}": ask_the_ledger,
    f".venv/bin/njord-ctl ledger show {LEDGER}": ask_the_ledger,
    RUN_MONDAY: run_monday,
    ".venv/bin/njord-ctl diff var/runs/monday --backtest": compare_with_a_replay,
    ".venv/bin/njord-ctl diff var/runs/monday --engine": compare_with_a_replay,
    BACKTEST_ON_TRADES: backtest_on_trades,
    ".venv/bin/njord-ctl diff var/runs/monday var/backtest/result_trendline_break_v1_BTCUSDT.json": (
        compare_with_a_backtest
    ),
    ".venv/bin/njord-ctl diff var/runs/monday var/runs/tuesday": compare_two_sessions,
    BACKTEST: backtest,
    LINT: lint_a_backtest,
    HONESTY: look_for_foresight,
    SWEEP: sweep,
    SWEEP_KEEPING_RETURNS: sweep_keeping_returns,
    LINT_A_SWEEP: lint_a_sweep,
    "make fmt lint type test": work_on_the_code,
    "make run-redis": run_redis,
}
HOW_WITH_REDIS: Final[dict[str, Way]] = {
    "make run-paper": run_daemon,
    "make run-risk": run_daemon,
    "make run-strat": run_daemon,
    "make run-bars": run_daemon,
    "make run-md FEED=synthetic:7": run_daemon,
    ".venv/bin/python -m apps.risk_engine --lockstep": follow_in_lockstep,
    ".venv/bin/python -m apps.md_ingest --feed synthetic:7:5 --lockstep": lead_in_lockstep,
    "make run-kill-trip": trip,
    "make check-kill": check,
    "make run-kill-clear": clear,
}
QUICK: Final = frozenset(
    {
        *("make run", "make help", ".venv/bin/njord-ctl --help", ".venv/bin/njord-ctl config check"),
        *("make run-risk", "make run-kill-trip"),
    }
)


def _marked(commands: Iterable[str]) -> list[object]:
    return [pytest.param(command, marks=() if command in QUICK else pytest.mark.full) for command in commands]


def test_every_documented_command_is_typed_here_and_no_other() -> None:
    documented = documentation.commands()
    assert documented.keys() == HOW.keys() | HOW_WITH_REDIS.keys(), documented


@pytest.mark.parametrize("command", _marked(HOW))
def test_a_documented_command_does_what_it_says(typed: TypedCommands, command: str) -> None:
    HOW[command](typed, command)


@pytest.mark.parametrize("command", _marked(HOW_WITH_REDIS))
def test_a_documented_command_over_redis_does_what_it_says(with_redis: TypedCommands, command: str) -> None:
    HOW_WITH_REDIS[command](with_redis, command)


def assert_proven(said: str) -> None:
    lines = [" ".join(line.split()) for line in said.splitlines()]
    for verdict in PROVEN:
        assert any(line.startswith(" ".join(verdict.split())) for line in lines), said
    assert "FAIL" not in said
