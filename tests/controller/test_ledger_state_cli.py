"""``njord-ctl ledger state`` tells what every daemon knows, as its next start would find it, and touches nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apps.fleet.session import Session, run_session
from apps.md_ingest.source import open_offline
from controller.cli import main
from controller.terminal import Exit
from core.contracts import FillEvent, KillSwitchEvent
from core.ledger import Ledger, Transaction, ledger
from core.ledger.lines import seal
from core.service.spec import assemble
from risk.daemon import SPEC as RISK_ENGINE
from tests.conftest import ROOT
from tests.support import invariants
from tests.support.fleet_config import busy_installation, config_in

TS = 1_723_075_200_000_000_123
NAMES = ("strategy_runner", "risk_engine", "paper_trader")


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A fleet after two minutes of a synthetic market."""
    folder = tmp_path_factory.mktemp("traded")
    config = config_in(folder, busy_installation(folder / "root"))
    session = Session(config, open_offline("synthetic:42:2", config), durable=False)
    run_session(session)
    return session


@pytest.fixture
def ledgers(traded: Session, tmp_path: Path) -> Path:
    """A copy of its ledgers, in the folders of a run."""
    shutil.copytree(traded.config.ledger_dir, tmp_path / "ledgers")
    return tmp_path / "ledgers"


def asked(traded: Session, folder: Path, *words: str) -> list[str]:
    return ["ledger", "state", *words, "--ledger-dir", str(folder), "--config-root", str(traded.config.root)]


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    daemons: dict[str, Any] = json.loads(capsys.readouterr().out)["daemons"]
    return daemons


def cut(path: Path, transactions: int) -> None:
    """Take the last transactions off a ledger."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-transactions]))


def write_anew(path: Path, change: Callable[[Transaction], Transaction]) -> None:
    """The same ledger under a sound chain with its transactions changed."""
    transactions = [change(each) for each in ledger.read(path)]
    path.unlink()
    book = Ledger(path, durable=False)
    for each in transactions:
        book.append(each.ts_ns, each.cause, [event for _, event in each.events], each.note)
    book.close()


def test_it_tells_the_positions_and_orders_that_the_daemons_had(
    traded: Session, ledgers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(traded, ledgers, "--json")) == Exit.DONE
    found = told(capsys)

    assert tuple(found) == NAMES
    for name, holder in (("risk_engine", traded.risk), ("paper_trader", traded.venue)):
        shown = {each["symbol"]: each for each in found[name]["state"]["positions"]}
        assert shown
        for symbol, each in shown.items():
            position = holder.position(symbol)
            assert (each["qty"], each["avg_price"]) == (position.qty, position.avg_price)
            assert (each["realized_pnl"], each["fees_paid"]) == (position.realized_pnl, position.fees_paid)
    plain = {
        "risk_engine": list(traded.risk.snapshot()["working"]),
        "paper_trader": [each["order"]["order_id"] for each in traded.venue.snapshot()["orders"]["open"]],
        "strategy_runner": [each["order_id"] for each in traded.strategies.snapshot()["orders"]["open"]],
    }
    assert {name: [order["order_id"] for order in found[name]["state"]["orders"]] for name in NAMES} == plain
    assert found["risk_engine"]["state"]["trading"] == traded.risk.state
    assert found["risk_engine"]["state"]["remembered"] == {"decided intents": len(traded.risk.snapshot()["decided"])}
    for name in NAMES:
        lines = (ledgers / f"{name}.ndjson").read_bytes().splitlines()
        assert found[name]["transactions"] == len(lines)
        assert found[name]["last_hash"] == json.loads(lines[-1])["hash"]


def test_in_words_the_verdict_comes_first_and_every_daemon_has_its_block(
    traded: Session, ledgers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(traded, ledgers)) == Exit.DONE

    first, *lines = capsys.readouterr().out.splitlines()

    assert first == (
        f"3 ledgers in {ledgers}: every chain holds, nothing under way; risk engine and venue hold the same positions"
    )
    assert [line for line in lines if line and line[0] != " "] == [
        "strategy_runner",
        "risk_engine  ACTIVE",
        "paper_trader  ACTIVE",
    ]
    assert any(line.startswith("  day        2024-01-02: loss ") for line in lines)


def test_what_an_upstream_has_and_the_daemon_has_not_processed_is_counted(
    traded: Session, ledgers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = ledgers / "strategy_runner.ndjson"
    answered = [bool(json.loads(line)["events"]) for line in runner.read_bytes().splitlines()]
    cut(runner, answered[::-1].index(True))
    behind = len(invariants.waiting(ledgers.parent))
    assert behind

    assert main(asked(traded, ledgers, "--json")) == Exit.DONE
    assert sum(each["waiting"] for each in told(capsys)["strategy_runner"]["consumed"]) == behind
    assert main(asked(traded, ledgers)) == Exit.DONE
    assert f"every chain holds, {behind} message" in capsys.readouterr().out


def test_one_daemon_alone_is_compared_with_its_upstreams_too(
    traded: Session, ledgers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (ledgers / "strategy_runner.ndjson").unlink()
    assert main(asked(traded, ledgers, "risk_engine", "--json")) == Exit.DONE
    (state,) = told(capsys).values()
    assert {each["producer"]: each["waiting"] for each in state["consumed"]} == {
        "paper_trader": 0,
        "strategy_runner": None,
    }


def test_a_broken_chain_is_bad_news_and_the_others_are_shown(
    traded: Session, ledgers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = ledgers / "risk_engine.ndjson"
    broken.write_bytes(broken.read_bytes().replace(b'"allowed":true', b'"allowed":false', 1))

    assert main(asked(traded, ledgers)) == Exit.BAD

    shown = capsys.readouterr()
    assert "1 of 3 chains BROKEN" in shown.out
    assert "paper_trader  ACTIVE" in shown.out
    assert f"look into this first: {broken}:" in shown.err


def test_a_broken_upstream_is_bad_news_also_for_who_was_asked_for(traded: Session, ledgers: Path) -> None:
    broken = ledgers / "risk_engine.ndjson"
    broken.write_bytes(broken.read_bytes().replace(b'"allowed":true', b'"allowed":false', 1))
    assert main(asked(traded, ledgers, "paper_trader")) == Exit.BAD


def test_a_ledger_that_lost_its_end_is_bad_news(
    traded: Session, ledgers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paper = ledgers / "paper_trader.ndjson"
    cut(paper, len(paper.read_bytes().splitlines()) // 2)
    assert main(asked(traded, ledgers)) == Exit.BAD
    said = capsys.readouterr().err
    assert "risk_engine has processed paper_trader up to" in said
    assert "lost its end or is an older copy" in said


def test_a_ledger_that_was_replaced_is_bad_news(
    traded: Session, ledgers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_anew(ledgers / "risk_engine.ndjson", lambda transaction: transaction._replace(ts_ns=transaction.ts_ns + 1))
    assert main(asked(traded, ledgers, "paper_trader")) == Exit.BAD
    assert "was deleted or replaced" in capsys.readouterr().err


def test_positions_that_differ_with_nothing_under_way_are_bad_news(
    traded: Session, ledgers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ledgers / "risk_engine.ndjson"
    last_fill = max(each.seq for each in ledger.read(path) if isinstance(each.cause.event, FillEvent))
    write_anew(path, lambda each: each._replace(note="refused, for this test") if each.seq == last_fill else each)

    assert main(asked(traded, ledgers)) == Exit.BAD

    shown = capsys.readouterr()
    assert "they must be equal" in shown.err
    assert "  set aside  1 message that could not be processed" in shown.out


def test_restrictions_are_shown_with_their_reasons(
    traded: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_in(tmp_path, traded.config.root)
    host = assemble(RISK_ENGINE, config)
    host.recover()
    host.handle_local(KillSwitchEvent(True, "file", TS))
    host.commit()

    assert main(asked(traded, config.ledger_dir)) == Exit.DONE  # beside the daemon, which holds its lock
    host.close()

    said = capsys.readouterr().out.splitlines()
    assert "risk_engine  HALTED" in said
    assert "  because    kill_switch file" in said


def test_another_configuration_than_the_ledgers_is_told_and_their_extent_is_shown(
    traded: Session, ledgers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "base.yaml").write_text("app: {env: paper}\n")
    words = ["ledger", "state", "--ledger-dir", str(ledgers), "--config-root", str(tmp_path)]
    assert main(words) == Exit.PARTLY
    said = capsys.readouterr().out
    assert "the chain holds" in said
    assert "UNKNOWN" in said
    assert "--config-root" in said


@pytest.mark.parametrize(
    ("words", "reason"),
    [(["md_ingest"], "expected daemons that keep a ledger: strategy_runner"), ([], "no ledgers in")],
)
def test_what_keeps_no_ledger_or_is_not_there_is_a_usage_error(
    words: list[str], reason: str, traded: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(traded, tmp_path, *words)) == Exit.USAGE
    assert reason in capsys.readouterr().err


def snapshotted(traded: Session, folder: Path) -> None:
    """Give the risk engine a snapshot behind the last transaction of its ledger."""
    config = config_in(folder, traded.config.root)
    host = assemble(RISK_ENGINE, config, durable=False, snapshot_every=1)
    host.recover()
    host.handle_local(KillSwitchEvent(False, "file", TS))
    host.commit()
    host.close()
    assert (folder / "ledgers" / "risk_engine.snapshot").exists()


def test_a_snapshot_is_held_against_the_ledger(
    traded: Session, ledgers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshotted(traded, ledgers.parent)
    assert main(asked(traded, ledgers, "risk_engine")) == Exit.DONE
    assert ", agrees with the ledger" in capsys.readouterr().out


def test_a_snapshot_that_says_something_else_than_the_ledger_is_bad_news(
    traded: Session, ledgers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshotted(traded, ledgers.parent)
    path = ledgers / "risk_engine.snapshot"
    plain = json.loads(path.read_bytes())
    del plain["hash"]
    plain["state"]["decided"] = []
    path.write_bytes(seal(json.dumps(plain, separators=(",", ":")).encode())[0] + b"\n")

    assert main(asked(traded, ledgers, "risk_engine")) == Exit.BAD

    shown = capsys.readouterr()
    assert "DISAGREES with the ledger" in shown.out
    assert f"remove {path}" in shown.err


def test_a_snapshot_that_a_start_would_pass_over_is_told(
    traded: Session, ledgers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (ledgers / "risk_engine.snapshot").write_bytes(b"{}\n")
    assert main(asked(traded, ledgers, "risk_engine")) == Exit.DONE
    assert "not usable; a start reads the whole ledger" in capsys.readouterr().out


def test_bytes_that_a_crash_cut_off_are_told_and_left_where_they_are(
    traded: Session, ledgers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (ledgers / "risk_engine.ndjson").open("ab") as file:
        file.write(b'{"seq":')
    before = (ledgers / "risk_engine.ndjson").read_bytes()
    assert main(asked(traded, ledgers, "risk_engine")) == Exit.DONE
    assert "  torn       7 bytes" in capsys.readouterr().out
    assert (ledgers / "risk_engine.ndjson").read_bytes() == before


def test_nothing_is_opened_for_writing_and_nothing_is_locked(traded: Session, ledgers: Path) -> None:
    probe = f"""
import os, sys
seen = []
def watch(name, args):
    if name == "open" and isinstance(args[0], (str, bytes, os.PathLike)):
        writing = args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        if writing and not os.fspath(args[0]).startswith("/dev/"):
            seen.append(os.fspath(args[0]))
    elif name in ("fcntl.flock", "fcntl.lockf", "os.rename", "os.remove", "os.mkdir", "os.truncate"):
        seen.append(name)
sys.addaudithook(watch)
from controller.cli import main
status = main({asked(traded, ledgers)!r})
sys.exit(f"wrote {{seen}}" if seen else status)
"""
    done = subprocess.run([sys.executable, "-B", "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
