"""``njord-ctl`` says what it found, in words or in JSON, and its exit statuses keep their meaning."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from controller.cli import main
from controller.event_formatting import event_line
from controller.terminal import Exit
from core.contracts import DenialCode, OrderCancel, OrderIntent, RiskDecision
from core.ledger import Cause, Ledger
from core.topics import TABLE
from tests.support.contract_samples import SAMPLES

ROOT = Path(__file__).resolve().parents[2]
TS = 1_723_075_200_000_000_123


@pytest.fixture
def ledger_file(tmp_path: Path) -> Path:
    """A sound ledger of three transactions."""
    path = tmp_path / "strategy_runner.ledger.ndjson"
    ledger = Ledger(path)
    for number in range(1, 4):
        cancel = OrderCancel(f"o-{number}", "BTC/USDT", "sma", TS + number)
        ledger.append(TS + number, Cause("md.trades.BTC/USDT", str(number)), [cancel])
    ledger.close()
    return path


def installation(folder: Path, base: str) -> str:
    """A folder with the given configuration, as the value of --root."""
    (folder / "config").mkdir()
    (folder / "config" / "base.yaml").write_text(base)
    return str(folder)


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    """Standard output as the one JSON value that it has to be."""
    return json.loads(capsys.readouterr().out)


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == Exit.DONE
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in ("run", "topics", "version", "ledger", "kill", "config"))


def test_the_help_imports_nothing_heavy() -> None:
    heavy = "{'pydantic', 'msgspec', 'redis', 'rich', 'aiohttp', 'asyncio', 'numpy', 'pandas', 'ccxt'}"
    probe = f"import sys; from controller.cli import main; main(['--help']); print(*({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledgre"]) == Exit.USAGE
    assert "ledger" in capsys.readouterr().err


def test_run_replaces_itself_with_the_fleet_and_hands_on_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _, words: became.append(words))
    main(["run", "--feed", "a.gz", "--help", "-x"])
    assert became == [[sys.executable, "-m", "apps.fleet", "--feed", "a.gz", "--help", "-x"]]


def test_a_sound_ledger_is_reported_with_its_last_hash(ledger_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "verify", str(ledger_file), "--json"]) == Exit.DONE
    (report,) = answer(capsys)
    assert (report["ok"], report["transactions"], report["events"]) == (True, 3, 3)
    assert len(report["last_hash"]) == 64


def test_a_changed_ledger_is_bad_news_and_the_line_is_named(
    ledger_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger_file.write_text(ledger_file.read_text().replace("o-2", "o-9"))
    assert main(["ledger", "verify", str(ledger_file)]) == Exit.BAD
    assert f"{ledger_file}:2:" in capsys.readouterr().err


def test_one_broken_ledger_does_not_hide_the_others(ledger_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = ledger_file.with_name("risk_engine.ledger.ndjson")
    broken.write_text("{}\n")
    assert main(["ledger", "verify", str(broken), str(ledger_file), "--json"]) == Exit.BAD
    assert [report["ok"] for report in answer(capsys)] == [False, True]


@pytest.mark.parametrize("command", ["verify", "show"])
def test_a_ledger_that_is_not_there_is_a_usage_error(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", command, "/nowhere.ndjson"]) == Exit.USAGE
    assert "no such ledger: /nowhere.ndjson" in capsys.readouterr().err


def test_showing_a_ledger_prints_cause_and_answers(ledger_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "show", str(ledger_file), "--last", "1"]) == Exit.DONE
    first, second = capsys.readouterr().out.splitlines()
    assert first == "#3  2024-08-08T00:00:00.000000126Z  <- md.trades.BTC/USDT 3"
    assert second.startswith("    orders.cancel  ")
    assert second.endswith("  o-3")


def test_a_decision_is_shown_with_what_it_answers_its_reason_and_its_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "risk_engine.ndjson"
    ledger = Ledger(path)
    intent = OrderIntent("sma", "BTC/USDT", "buy", "limit", 0.5, 60_000.0, "i-1", TS)
    reason = "PER_ORDER_CAP: notional=30000.00 cap=5000.00"
    inputs = {"now_ns": TS, "state": "ACTIVE", "restrictions": [], "ref_price": 60001.5, "kill_switch": ""}
    denied = RiskDecision(
        "i-1", False, reason, {"per_order_usd_cap": 5000.0}, "d-1", DenialCode.PER_ORDER_CAP, "sma", "BTC/USDT", TS,
        inputs,
    )  # fmt: skip
    ledger.append(TS, Cause("strategy_runner", "7-0", "strat.intent", intent), [denied])
    ledger.append(TS, Cause("strategy_runner", "8-0", "strat.intent", intent), [], "expected so, got other")
    ledger.close()

    assert main(["ledger", "show", str(path)]) == Exit.DONE

    said = capsys.readouterr().out.splitlines()
    assert main(["ledger", "show", str(path), "--answered", "-n", "1"]) == Exit.DONE
    assert capsys.readouterr().out.splitlines() == said[:4]
    assert said == [
        "#1  2024-08-08T00:00:00.000000123Z  <- strategy_runner 7-0  strat.intent  "
        "sma wants to buy 0.5 BTC/USDT at 60,000 or better  i-1",
        f"    risk.decisions  DENIED {reason}  sma BTC/USDT  i-1",
        "        numbers  now_ns=2024-08-08T00:00:00.000000123Z  state=ACTIVE  ref_price=60,001.5",
        "        limits  per_order_usd_cap=5,000",
        "#2  2024-08-08T00:00:00.000000123Z  <- strategy_runner 8-0  strat.intent  "
        "sma wants to buy 0.5 BTC/USDT at 60,000 or better  i-1",
        "    not processed: expected so, got other",
    ]


def test_every_event_that_a_ledger_may_hold_is_shown_in_words() -> None:
    held = [row.contract for row in TABLE if set(row.producers) & {"strategy_runner", "risk_engine", "paper_trader"}]
    samples = [event for event in SAMPLES if type(event) in held]

    assert {type(event) for event in samples} == set(held)
    assert not [event for event in samples if event_line(event).startswith("{")]


def test_bytes_that_a_crash_left_behind_the_last_transaction_are_told(
    ledger_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ledger_file.open("ab") as file:
        file.write(b'{"seq":4,"ts_n')

    assert main(["ledger", "verify", str(ledger_file), "--json"]) == Exit.DONE
    assert answer(capsys)[0]["torn_bytes"] == 14
    assert main(["ledger", "verify", str(ledger_file)]) == Exit.DONE
    assert f"{ledger_file}: 14 bytes behind the last transaction are not counted" in capsys.readouterr().out


def test_showing_a_ledger_in_json_gives_a_line_per_transaction(
    ledger_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["ledger", "show", str(ledger_file), "--last", "0", "--json"])
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [transaction["seq"] for transaction in shown] == [1, 2, 3]
    assert shown[0]["events"][0]["event"]["order_id"] == "o-1"


def test_showing_a_broken_ledger_is_bad_news(ledger_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger_file.write_text(ledger_file.read_text().replace("o-3", "o-9"))
    assert main(["ledger", "show", str(ledger_file)]) == Exit.BAD
    assert "does not match its own hash" in capsys.readouterr().err


def test_the_kill_switch_is_tripped_shown_and_cleared(
    tmp_path: Path, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--file", str(tmp_path / "switch"), "--redis-url", redis_url, "--key", "k"]
    statuses = [main(["kill", command, *where]) for command in ("status", "trip", "status", "clear", "status")]
    assert statuses == [Exit.DONE, Exit.DONE, Exit.BAD, Exit.DONE, Exit.DONE]
    assert "TRIPPED" in capsys.readouterr().out


def test_a_sound_configuration_is_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", "--json", "--root", installation(tmp_path, "app: {env: paper}\n")]) == Exit.DONE
    assert (answer(capsys)["ok"], capsys.readouterr().err) == (True, "")


def test_the_configuration_of_the_checkout_is_sound() -> None:
    assert main(["config", "check", "--root", str(ROOT)]) == Exit.DONE


@pytest.mark.parametrize(
    "base",
    [
        "redis: {url: 'redis://127.0.0.1:notaport/0'}\n",
        "redis: {url: 'redis://h:1/abc'}\n",
        "risk: {usd_rates: {USDT: 1}}\n",
    ],
)
def test_what_would_stop_a_daemon_is_found_by_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], base: str
) -> None:
    assert main(["config", "check", "--root", installation(tmp_path, base)]) == Exit.BAD
    assert "expected" in capsys.readouterr().err


@pytest.mark.parametrize("as_json", [True, False])
def test_a_flawed_configuration_is_bad_news(tmp_path: Path, as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    root = installation(tmp_path, "app: {env: papre}\n")
    assert main(["config", "check", "--root", root, *(["--json"] if as_json else [])]) == Exit.BAD
    shown = capsys.readouterr()
    assert "papre" in (json.loads(shown.out)["errors"][0] if as_json else shown.err)


def test_topics_are_listed_from_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topics", "--json"]) == Exit.DONE
    assert [row["topic"] for row in answer(capsys)] == [row.template for row in TABLE]
    assert main(["topics"]) == Exit.DONE
    assert len(capsys.readouterr().out.splitlines()) == len(TABLE) + 1


def test_the_version_is_that_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "--json"]) == Exit.DONE
    assert f'version = "{answer(capsys)["njord"]}"' in (ROOT / "pyproject.toml").read_text()


def test_a_defect_is_not_dressed_up_as_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def defective(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("controller.cli.print_table", defective)
    with pytest.raises(ZeroDivisionError):
        main(["topics"])
