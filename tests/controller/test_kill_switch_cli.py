"""The kill switch by hand: what it does, and the exit status that scripts rely on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from core import kill_switch
from scripts.njord_kill import Exit, app
from tests.support.redis_server import spare_port

run = CliRunner()


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "switch")


def invoked(command: str, file: str, url: str, *more: str) -> tuple[int, dict[str, Any]]:
    result = run.invoke(app, [command, "--file", file, "--redis-url", url, "--key", "k", "--json", *more])
    return result.exit_code, json.loads(result.stdout)


def test_trip_status_clear_on_both_switches(file: str, redis_url: str) -> None:
    assert invoked("status", file, redis_url)[0] == Exit.DONE
    assert invoked("trip", file, redis_url, "--reason", "test")[0] == Exit.DONE
    code, answer = invoked("status", file, redis_url)
    assert code == answer["exit"] == Exit.BAD
    assert [(s["switch"], s["tripped"], s["reason"]) for s in answer["switches"]] == [
        ("file", True, "test"),
        ("redis", True, "test"),
    ]
    assert invoked("clear", file, redis_url)[0] == Exit.DONE
    assert invoked("status", file, redis_url)[0] == Exit.DONE


def test_without_redis_the_file_is_tripped_all_the_same(file: str) -> None:
    nowhere = f"redis://127.0.0.1:{spare_port()}/0"
    assert invoked("status", file, nowhere)[0] == Exit.PARTLY
    code, answer = invoked("trip", file, nowhere)
    assert code == Exit.PARTLY
    assert [s["tripped"] for s in answer["switches"]] == [True, None]
    assert kill_switch.file_tripped(file)
    assert invoked("status", file, nowhere)[0] == Exit.BAD
    assert invoked("clear", file, nowhere)[0] == Exit.PARTLY
    assert invoked("trip", file, nowhere, "--target", "redis")[0] == Exit.FAILED


def test_a_file_that_cannot_be_made_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    code, answer = invoked("trip", str(tmp_path / "taken" / "deep" / "switch"), "redis://h", "--target", "file")
    assert "cannot be created" in answer["switches"][0]["error"]
    assert code == Exit.DONE  # a switch that cannot be looked at stops trading just as well
    assert answer["switches"][0]["tripped"]


def test_the_configured_switch_is_taken(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "base.yaml").write_text("risk: {kill_switch_file: here}")
    assert run.invoke(app, ["trip", "--root", str(tmp_path), "--target", "file"]).exit_code == Exit.DONE
    assert (tmp_path / "here").exists()


def test_a_broken_configuration_does_not_keep_anybody_from_tripping(tmp_path: Path, file: str) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "base.yaml").write_text("risk: [")
    result = run.invoke(app, ["trip", "--root", str(tmp_path), "--target", "file", "--file", file])
    assert result.exit_code == Exit.DONE
    assert "default switches taken" in result.stderr
    assert kill_switch.file_tripped(file)


def test_people_are_told_in_words(file: str) -> None:
    kill_switch.trip_file(file, "drawdown")
    result = run.invoke(app, ["status", "--file", file, "--redis-url", "x", "--key", "k", "--target", "file"])
    assert f"file: TRIPPED ({file}): drawdown since 20" in result.stdout


def test_wrong_usage_is_told_apart() -> None:
    assert run.invoke(app, ["status", "--target", "nothing"]).exit_code == 2
