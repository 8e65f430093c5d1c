"""The secrets command line, from a new key to values read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scripts.njord_secrets import app

PLAIN = "# venue\nexchange:\n  api_key: key-0001\n  api_secret: secret-0001\n"
run = CliRunner()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "age.key"
    assert run.invoke(app, ["keygen", str(path)]).exit_code == 0
    return path


def test_a_key_is_made_encrypts_and_reads_back(key_file: Path, tmp_path: Path) -> None:
    env, out = {"SOPS_AGE_KEY_FILE": str(key_file)}, tmp_path / "s.enc.yaml"
    assert run.invoke(app, ["encrypt", "-", "--out", str(out)], input=PLAIN, env=env).exit_code == 0
    assert "key-0001" not in out.read_text()
    shown = run.invoke(app, ["decrypt", str(out), "--json"], env=env)
    assert json.loads(shown.stdout) == {"exchange": {"api_key": "key-0001", "api_secret": "secret-0001"}}


def test_check_names_the_keys_and_no_values(key_file: Path, tmp_path: Path) -> None:
    env, out = {"SOPS_AGE_KEY_FILE": str(key_file)}, tmp_path / "s.enc.yaml"
    run.invoke(app, ["encrypt", "-", "--out", str(out)], input=PLAIN, env=env)
    answer = run.invoke(app, ["check", str(out)], env=env)
    assert answer.stdout == "exchange.api_key\nexchange.api_secret\n"


def test_a_new_key_is_readable_by_its_owner_alone_and_replaces_none(key_file: Path) -> None:
    assert key_file.stat().st_mode & 0o777 == 0o600
    before = key_file.read_text()
    assert run.invoke(app, ["keygen", str(key_file)]).exit_code == 1
    assert key_file.read_text() == before


def test_a_failure_leaves_the_old_file_and_says_why(key_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.enc.yaml"
    out.write_text("old")
    answer = run.invoke(app, ["encrypt", "-", "--out", str(out)], input=PLAIN, env={"SOPS_AGE_KEY": ""})
    assert answer.exit_code == 1
    assert "at least one age recipient" in answer.stderr
    assert out.read_text() == "old"


def test_plain_text_that_is_no_yaml_is_refused_with_its_line(tmp_path: Path) -> None:
    answer = run.invoke(app, ["encrypt", "-", "--out", str(tmp_path / "x")], input="a: 1\na: 2\n")
    assert answer.exit_code == 1
    assert "-:2:1: key 'a'" in answer.stderr
