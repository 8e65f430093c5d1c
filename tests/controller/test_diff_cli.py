"""``njord-ctl diff``: equal runs in a line, unequal ones as tables by class, for eyes and for scripts."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import struct
import sys
import termios
from decimal import Decimal
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest

from controller.cli import main
from controller.terminal import Exit
from tests.conftest import ROOT
from tests.support.backtests.parity_sessions import Recorded, contents, copied, recorded

_ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return recorded(tmp_path_factory.mktemp("one"), "synthetic:42:1")


@pytest.fixture(scope="module")
def capped(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return recorded(tmp_path_factory.mktemp("capped"), "synthetic:42:1", risk__per_order_usd_cap=1_500.0)


def asked(run: Recorded, *words: object) -> list[str]:
    return ["diff", str(run.folder), *map(str, words), "--config-root", str(run.config.root)]


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_session_and_its_replay_are_equal_and_the_session_is_only_read(
    run: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(run.folder)

    assert main(asked(run, "--backtest")) == Exit.DONE

    said = capsys.readouterr().out
    assert said.startswith("diff  no differences\n")
    assert re.search(r"compared \d+ intents \(\d+ allowed, \d+ denied\), \d+ fills: equal, and so is profit", said)
    assert contents(run.folder) == before


def test_json_has_everything_and_money_as_text(
    run: Recorded, capped: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(run, capped.folder, "--json", "--limit", "1")) == Exit.BAD

    found = told(capsys)
    assert not found["equal"]
    assert found["counts"]["decision"] > 0
    assert len(found["differences"]) == sum(found["counts"].values())
    a, b = (Decimal(each["pnl"]["USDT"]) for each in found["runs"])
    assert sum(map(Decimal, found["pnl_difference"]["USDT"].values())) == b - a
    first = found["differences"][0]
    assert first["kind"] == "decision"
    assert first["detail"].startswith("per_order_usd_cap 5000 → 1500")


def test_the_table_shows_as_many_as_asked_for_and_says_how_many_there_are_more(
    run: Recorded, capped: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(run, capped.folder, "-n", "3")) == Exit.BAD
    few = capsys.readouterr().out
    assert main(asked(run, capped.folder, "-n", "0")) == Exit.BAD
    everything = capsys.readouterr().out

    assert few.startswith("diff  ")
    count = int(few.split()[1])
    assert f"… and {count - 3:,} more: --limit 0 shows all" in few
    assert "more: --limit" not in everything
    rows = [line for line in everything.splitlines() if re.match(r"  \d\d:\d\d:\d\d\.\d{3}  ", line)]
    assert len(rows) == count
    for part in ("signal", "decision", "timing", "fill", "fee", "mark-to-market", "B less A"):
        assert re.search(rf"^  {part} ", few, re.MULTILINE)


def test_a_session_and_the_event_engine_on_its_trades_are_equal(
    run: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(run, "--engine")) == Exit.DONE

    said = capsys.readouterr().out
    assert said.startswith("diff  no differences\n")
    assert "note:" not in said, "nothing is to be explained"


def dearer(run: Recorded, into: Path) -> Path:
    """An installation like that of the session, with other fees and another share of what trades."""
    shutil.copytree(run.config.root, into)
    base = into / "config" / "base.yaml"
    base.write_text(base.read_text().replace("participation: 0.5", "participation: 0.25"))
    return into


def test_a_replay_runs_under_the_sessions_own_configuration_and_names_what_differs_today(
    run: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = dearer(run, tmp_path / "root")
    for how in ("--backtest", "--engine"):
        assert main(["diff", str(run.folder), how, "--config-root", str(root)]) == Exit.DONE
        said = " ".join(capsys.readouterr().out.split())
        assert (
            "note: B ran under A's own configuration; that of --config-root differs in paper.participation 0.5 → 0.25"
        ) in said


def test_what_would_have_come_of_todays_configuration_is_asked_for_with_today(
    run: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = dearer(run, tmp_path / "root")
    told = []
    for how in ("--backtest", "--engine"):
        words = ["diff", str(run.folder), how, "--today", "--json", "--config-root", str(root)]
        assert main(words) == Exit.BAD
        told.append(json.loads(capsys.readouterr().out))

    assert told[0]["counts"]["fill"] > 0
    assert told[0]["remarks"] == [
        "B ran under the configuration of --config-root, which differs from A's in paper.participation 0.5 → 0.25"
    ]
    assert told[0]["differences"] == told[1]["differences"], "the engine follows the fleet also there"


def test_two_sessions_under_other_configurations_say_in_what_these_differ(
    run: Recorded, capped: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(run, capped.folder, "--json")) == Exit.BAD

    assert told(capsys)["remarks"][0] == (
        "A and B ran under configurations that differ in risk.per_order_usd_cap 5000 → 1500"
    )


def test_an_older_session_without_a_record_is_replayed_under_todays_configuration(
    run: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(run, tmp_path / "old")
    for record in (folder / "journals").glob("config.*.json"):
        record.unlink()

    assert main(["diff", str(folder), "--backtest", "--config-root", str(run.config.root)]) == Exit.DONE

    assert "note: A: it has no record of its configuration: today's is taken" in capsys.readouterr().out


def test_a_record_that_cannot_be_read_is_told_with_the_way_around_it(
    run: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(run, tmp_path / "broken")
    (record,) = (folder / "journals").glob("config.*.json")
    record.write_text(record.read_text().replace('"participation": 0.5', '"participation": 7'))
    words = ["diff", str(folder), "--backtest", "--config-root", str(run.config.root)]

    assert main(words) == Exit.BAD
    said = capsys.readouterr().err
    assert "paper.participation" in said
    assert "--today" in said

    record.write_text("{")
    assert main(words) == Exit.BAD
    assert "move the file away to do without it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "expected one of: a second run B, --backtest, --engine"),
        (["--backtest", "--engine"], "expected one of"),
        ([".", "--today"], "--today says what A is run again under"),
        (["nowhere"], "no such run: nowhere"),
    ],
)
def test_a_wrong_command_line_is_told(
    words: list[str], said: str, run: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(run, *words)) == Exit.USAGE
    assert said in capsys.readouterr().err


def test_what_is_no_run_is_told(run: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked(run, tmp_path)) == Exit.BAD
    assert "expected the folder of a session with journals/ and ledgers/" in capsys.readouterr().err
    file = tmp_path / "result.json"
    file.write_text("[]")
    assert main(["diff", str(file), "--backtest", "--config-root", str(run.config.root)]) == Exit.USAGE
    assert "expected the folder of a session, whose market data can be run again" in capsys.readouterr().err
    assert main(["diff", str(file), str(run.folder), "--config-root", str(run.config.root)]) == Exit.BAD
    assert "expected the folder of a session or a result" in capsys.readouterr().err


def test_a_broken_ledger_is_bad_news(run: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run.folder, tmp_path / "copy")
    path = tmp_path / "copy" / "ledgers" / "risk_engine.ndjson"
    path.write_bytes(path.read_bytes().replace(b'"allowed":true', b'"allowed":false', 1))
    assert main(asked(run, tmp_path / "copy")) == Exit.BAD
    assert "does not match its own hash" in capsys.readouterr().err


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_no_line_is_wider_than_it(columns: int, run: Recorded, capped: Recorded) -> None:
    short = "../capped"  # names of temporary folders are as long as a line
    link = run.folder.parent / "capped"
    if not link.exists():
        link.symlink_to(capped.folder)
    status, said = on_terminal(columns, run.folder, [".", short, "-n", "12", "--config-root", str(run.config.root)])

    assert status == Exit.BAD
    assert "decision: allowed → PER_ORDER_CAP" in said or "PER_ORDER_CAP" in said
    lines = [_ESCAPE.sub("", line).rpartition("\r")[2] for line in said.replace("\r\n", "\n").split("\n")]
    assert max(map(len, lines)) <= columns, max(lines, key=len)


def on_terminal(columns: int, folder: Path, words: list[str]) -> tuple[int, str]:
    """Run the command on a terminal of so many columns; its status and what it showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        arguments = [sys.executable, "-m", "controller", "diff", *words]
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
        environ.pop("COLUMNS", None)
        os.read(0, 1)  # until the size is set
        os.execve(sys.executable, arguments, environ)
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    os.write(terminal, b"\n")
    shown = b""
    try:
        while chunk := os.read(terminal, 65_536):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()
