"""Bad input as a newcomer meets it, through the fleet's command line: told where and what to do, counted, contained."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.contracts import TradeEvent
from core.journal import JournalReader
from core.ledger import ledger
from tests.conftest import ROOT
from tests.support.waiting import patience

CAP = "per_order_usd_cap: 5_000"
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND

STRATEGIES = """
from core.contracts import OrderIntent
from strategies.base import StrategyBase

class Raises(StrategyBase):
    strategy_id = "raises"
    def on_event(self, event):
        raise ValueError("a bug of mine")

class Exits(StrategyBase):
    strategy_id = "exits"
    def on_event(self, event):
        raise SystemExit(9)

class Hangs(StrategyBase):
    strategy_id = "hangs"
    def on_event(self, event):
        while True:
            pass

class Garbage(StrategyBase):
    strategy_id = "garbage"
    def on_event(self, event):
        return [42, OrderIntent("somebody else", "BTC/USDT", "buy", "market", 1.0)]

class Deep(StrategyBase):
    strategy_id = "deep"
    def on_event(self, event):
        meta = {}
        meta["again"] = meta
        return [OrderIntent(self.strategy_id, "BTC/USDT", "buy", "market", 1.0, meta=meta)]

class Unprintable(StrategyBase):
    strategy_id = "unprintable"
    def on_event(self, event):
        return [OrderIntent(self.strategy_id, "BTC/USDT", "buy", "market", 1.0, meta={"x": object()})]

class Good(StrategyBase):
    strategy_id = "good"
    calls = 0
    def on_event(self, event):
        self.calls += 1
        return [OrderIntent(self.strategy_id, "BTC/USDT", "buy", "market", 0.01)] if self.calls == 20 else []
"""


@dataclass(frozen=True)
class Outcome:
    """What a user sees of one run."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def summary(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.out)
        return answer

    def check(self, name: str) -> tuple[str, str]:
        (found,) = (each for each in self.summary["checks"] if each["name"] == name)
        return found["verdict"], found["detail"]

    @property
    def log(self) -> str:
        return (self.folder / "app.ndjson").read_text()


class Installation:
    """A configuration folder to spoil, and the command line to run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = folder / "config" / "base.yaml"
        self.strategies = folder / "config" / "strategies.yaml"
        shutil.copytree(ROOT / "config", folder / "config")

    def run(self, feed: str | Path, *options: str, preexec: Callable[[], None] | None = None) -> Outcome:
        out = self.folder / "run"
        done = subprocess.run(
            [sys.executable, "-m", "apps.fleet", "--config-root", str(self.folder), "--json", "--no-again",
             "--feed", str(feed), "--out", str(out), *options],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=patience(60), preexec_fn=preexec,
            env={**{k: v for k, v in os.environ.items() if not k.startswith("NJORD_")},
                 "PYTHONPATH": f"{ROOT}{os.pathsep}{self.folder}",
                 "NJORD_RISK__KILL_SWITCH_FILE": str(self.folder / "killswitch")},
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return Outcome(done.returncode, done.stdout, done.stderr, out)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def trades(count: int = 400) -> list[dict[str, Any]]:
    """A quiet market, ten trades a second."""
    return [
        TradeEvent("BTC/USDT", 60_000.0 + i % 7, 0.5, "buy" if i % 2 else "sell", START + i * SECOND // 10, str(i + 1),
                   "v", START + i * SECOND // 10 + 1).to_dict()
        for i in range(count)
    ]  # fmt: skip


def journal(folder: Path, lines: list[str]) -> Path:
    path = folder / "md.trades.BTCUSDT.ndjson"
    path.write_text("\n".join(lines))
    return path


def line(trade: dict[str, Any], **changed: Any) -> str:
    return json.dumps(trade | changed, separators=(",", ":"))


SPOILED: list[tuple[str, Callable[[dict[str, Any]], str], str]] = [
    ("cut", lambda t: line(t)[:40], "truncated"),
    ("no JSON", lambda t: "what is this", "malformed"),
    ("array", lambda t: "[]", "Expected `object`, got `array`"),
    ("unknown field", lambda t: line(t, extra=1), "unknown field extra"),
    ("misspelt key", lambda t: line(t).replace('"qty"', '"qyt"'), "missing required field `qty`"),
    ("misspelt optional key", lambda t: line(t).replace('"venue"', '"vneue"'), "unknown field vneue"),
    ("key twice", lambda t: line(t)[:-1] + ',"price":1.0}', "price twice"),
    ("NaN", lambda t: line(t, price=float("nan")), "malformed"),
    ("infinite", lambda t: line(t, price=float("inf")), "malformed"),
    ("negative price", lambda t: line(t, price=-5.0), "price: expected a finite number above 0, got -5.0"),
    ("negative quantity", lambda t: line(t, qty=-5.0), "qty: expected a finite number above 0, got -5.0"),
    ("huge time", lambda t: line(t, ts=10**30), "0 to 2^63-1"),
    ("future", lambda t: line(t, ts=t["ts"] + 3600 * SECOND), "Check this machine's clock"),
    ("off the grid", lambda t: line(t, price=60000.123456), "in steps of 0.01"),
    ("unknown symbol", lambda t: line(t, symbol="XXX/USDT"), "unknown symbol 'XXX/USDT'"),
    ("deep", lambda t: "[" * 100_000, "Expected `object`"),
]


@pytest.mark.full
def test_every_bad_line_of_a_journal_is_told_with_its_place_and_costs_that_line_alone(
    installation: Installation, tmp_path: Path
) -> None:
    good = trades()
    lines = [line(trade) for trade in good]
    places = {}
    for number, (name, spoil, _) in enumerate(SPOILED):
        at = 20 + 10 * number
        lines[at] = spoil(good[at])
        places[name] = at + 1
    path = journal(tmp_path, [*lines, '{"symbol":"BTC'])  # torn at the end, too
    outcome = installation.run(path)
    assert outcome.code == 3
    verdict, detail = outcome.check("data")
    assert verdict == "FAIL"
    assert f"{400 - len(SPOILED)} trades" in detail
    assert f"{len(SPOILED) + 1} rejected; each is logged in {outcome.folder / 'app.ndjson'}" in detail
    told = [json.loads(each)["event"] for each in outcome.log.splitlines()]
    for name, _, expected in SPOILED:
        place = (
            f"{path}:{places[name]}: "
            if name not in ("future", "off the grid")
            else f"trade {places[name]} of BTC/USDT: "
        )
        assert any(place in each and expected in each for each in told), (name, place, expected)
    assert any(each.startswith(f"{path}:401: ") for each in told)
    kept = [t.trade_id for t in JournalReader(outcome.folder / "journals").read("md.trades.BTCUSDT", TradeEvent)]
    assert kept == [str(i + 1) for i in range(400) if i + 1 not in places.values()]
    assert outcome.check("gaps") == ("FAIL", f"{len(SPOILED)} gaps, {len(SPOILED)} trades missing")
    assert outcome.check("ledgers")[0] == outcome.check("positions")[0] == "PASS"


def test_trades_that_go_back_in_time_are_used_in_the_order_of_their_ids_and_counted(
    installation: Installation, tmp_path: Path
) -> None:
    good = trades(100)
    lines = [line(trade) for trade in good]
    lines[50] = line(good[50], ts=good[50]["ts"] - 3600 * SECOND)
    outcome = installation.run(journal(tmp_path, [*lines, ""]))
    assert outcome.code == 0
    assert outcome.check("data")[1].endswith("1 time a trade was older than the one before, ids gave the order")
    kept = JournalReader(outcome.folder / "journals").read("md.trades.BTCUSDT", TradeEvent)
    assert [int(t.trade_id) for t in kept] == list(range(1, 101))


def test_a_recording_that_starts_in_mid_stream_is_taken_from_its_first_whole_message(
    installation: Installation, tmp_path: Path
) -> None:
    whole = line(trades(100)[0])
    lines = [whole[50:], *(line(trade) for trade in trades(100)[30:]), ""]
    path = journal(tmp_path, lines)
    outcome = installation.run(path)
    assert outcome.check("data")[1].split(", ")[1] == "70 trades"
    assert f"{path}:1: " in outcome.log
    assert outcome.check("gaps") == ("PASS", "0 gaps, 0 trades missing")


@pytest.mark.full
@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (CAP, "per_order_usd_cpa: 5_000", "base.yaml:37: risk.per_order_usd_cpa: unknown key; did you mean risk"),
        (CAP, "per_order_usd_cap: -1", "risk.per_order_usd_cap: expected a number greater than 0, got -1"),
        (CAP, "per_order_usd_cap: .nan", "risk.per_order_usd_cap: expected"),
        ("tick_size: 0.01, lot_size: 0.00001,", "lot_size: 0.00001,", "BTC/USDT.tick_size: required key is missing"),
        ("url: redis://", "url: rediss:/", "redis.url: expected"),
        ("timeframes: [1m,", "timeframes: [1m,, [", "invalid YAML"),
    ],
    ids=["misspelt", "negative", "nan", "missing", "no address", "no YAML"],
)  # fmt: skip
def test_a_bad_configuration_ends_the_start_with_file_line_and_key(
    installation: Installation, old: str, new: str, told: str
) -> None:
    text = installation.base.read_text()
    assert old in text
    installation.base.write_text(text.replace(old, new, 1))
    outcome = installation.run("synthetic:1:1")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("fleet: ")
    assert told in outcome.err.replace(f"{installation.folder}/", "")
    assert not outcome.folder.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--symbol", "BTC/USTD"), "did you mean BTC/USDT?"),
        (("--speed", "fast"), "--speed 'fast': expected a factor above 0 such as 1x"),
        (("--feed", "no-such-file"), "--feed 'no-such-file': no such file. Expected"),
        (("--feed", "synthetic:x"), "expected synthetic:SEED"),
        (("--feed", str(ROOT / "README.md")), "expected a raw Binance capture"),
    ],
    ids=["symbol", "speed", "no file", "seed", "something else"],
)
def test_a_wrong_option_is_told_with_what_was_expected(
    installation: Installation, options: tuple[str, ...], told: str
) -> None:
    outcome = installation.run("synthetic:1:1", *options)
    assert (outcome.code, outcome.out) == (1, "")
    (said,) = outcome.err.strip().splitlines()
    assert said.startswith("fleet: ")
    assert told in said


@pytest.mark.full
def test_strategies_that_raise_exit_hang_or_answer_garbage_are_stopped_and_the_good_one_trades(
    installation: Installation,
) -> None:
    package = installation.folder / "mine"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "strategies.py").write_text(STRATEGIES)
    names = ["Raises", "Exits", "Hangs", "Garbage", "Deep", "Unprintable", "Missing", "Good"]
    entries = "".join(
        f'  - {{id: {n.lower()}, class: mine.strategies.{n}, symbols: ["BTC/USDT"], events: ["md.trades.*"]}}\n'
        for n in names
    )  # fmt: skip
    installation.strategies.write_text(f"strategies:\n{entries}")
    outcome = installation.run("synthetic:1:1")
    assert (outcome.code, outcome.err) == (3, "")
    verdict, detail = outcome.check("strategies")
    assert verdict == "FAIL"
    for told in (
        "raises was stopped after 3 failed calls in a row, 0 timeouts: ValueError: a bug of mine",
        "exits was stopped after 3 failed calls in a row, 0 timeouts: SystemExit: 9",
        "hangs was stopped after 3 failed calls in a row, 3 timeouts: StrategyTimeout: not done after 1 s",
        "garbage was stopped",
        "deep was stopped",
        "unprintable was stopped",
        "missing did not load: UnknownStrategyError",
        f"details in {outcome.folder / 'app.ndjson'}",
    ):
        assert told in detail, told
    assert "good" not in detail
    assert "correct it, then reload the strategy_runner (SIGHUP); its positions are kept" in outcome.log
    assert (outcome.summary["intents"], outcome.summary["allowed"]) == (1, 1)
    assert outcome.summary["fills"] > 0
    assert outcome.check("ledgers")[0] == outcome.check("positions")[0] == "PASS"


@pytest.mark.full
def test_a_full_disk_ends_the_run_with_place_and_remedy_and_sound_ledgers(installation: Installation) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    outcome = installation.run("synthetic:1:30", preexec=limit)
    assert (outcome.code, outcome.out) == (1, "")
    said = outcome.err.strip().splitlines()[-1]
    assert said.startswith(f"fleet: cannot write {outcome.folder}/")
    assert "File too large; expected a writable file system with free space. Free space or mend permissions" in said
    found = sorted((outcome.folder / "ledgers").glob("*.ndjson"))
    assert len(found) == 3
    assert sum(ledger.verify(path).transactions for path in found) > 0
    for path in outcome.folder.rglob("*.ndjson"):
        assert path.read_bytes()[-1:] in (b"\n", b""), path


@pytest.mark.full
def test_a_run_never_mixes_with_an_earlier_one_in_the_same_folder(installation: Installation) -> None:
    assert installation.run("synthetic:1:1").code == 0
    again = installation.run("synthetic:1:1")
    assert again.code == 1
    assert "expected a folder without journals; name another" in again.err
