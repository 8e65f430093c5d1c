"""The log file: shared by daemons, moved by rotation, full, gone; and logging never raises."""

from __future__ import annotations

import errno
import json
import logging
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
import structlog

from core.logging import get_logger, setup_json_logging
from core.logging.sink import LogSink
from tests.support.log_setup import logging_to

LINES, WRITERS = 300, 4


def write_many(path: Path, name: str) -> None:
    sink = LogSink(path)
    for number in range(LINES):
        sink.write(json.dumps({"from": name, "n": number, "pad": "x" * 3000}).encode())


def test_several_processes_append_whole_lines_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "app.ndjson"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(path, f"w{n}")) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for n in range(WRITERS):
        assert [line["n"] for line in lines if line["from"] == f"w{n}"] == list(range(LINES))
    assert len(lines) == WRITERS * LINES


def test_a_line_is_one_append(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bytes] = []

    def recorded(_: int, data: bytes) -> int:
        calls.append(data)
        return len(data)

    monkeypatch.setattr(os, "write", recorded)
    LogSink(tmp_path / "x").write(b'{"a":1}')
    assert calls == [b'{"a":1}\n']


def test_a_file_moved_away_is_started_anew(tmp_path: Path) -> None:
    path = tmp_path / "app.ndjson"
    sink = LogSink(path)
    sink.write(b"1")
    path.rename(tmp_path / "app.ndjson.1")
    sink.write(b"2")
    path.unlink()
    sink.write(b"3")
    assert (tmp_path / "app.ndjson.1").read_bytes() == b"1\n"
    assert path.read_bytes() == b"3\n"


def test_a_full_disk_is_counted_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with logging_to(tmp_path) as (sink, lines):
        log = get_logger("x")
        log.info("before")

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            for _ in range(3):
                log.info("lost")
        log.info("after")
        assert [line["event"] for line in lines()] == ["before", "after"]
    assert (sink.written, sink.lost) == (2, 3)
    assert capsys.readouterr().err.count("No space left on device") == 1


def test_a_torn_line_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = LogSink(tmp_path / "x")
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: real(handle, data[:3]))
        sink.write(b'{"a":1}')
    sink.write(b'{"b":2}')
    assert (tmp_path / "x").read_bytes() == b'{"a\n{"b":2}\n'
    assert (sink.written, sink.lost) == (1, 1)


def test_a_folder_that_cannot_be_made_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with logging_to(tmp_path / "file" / "logs") as (sink, _):
        get_logger("x").warning("lost")
    assert sink.lost == 1
    assert "log line lost" in capsys.readouterr().err


@pytest.mark.parametrize("event", ["%s %s", "100%", "%(a)s", "{}"])
def test_wrong_format_arguments_do_not_raise(tmp_path: Path, event: str) -> None:
    with logging_to(tmp_path) as (sink, lines):
        get_logger("x").info(event, 1)
        logging.getLogger("y").warning(event, 1)
        assert [line["event"] for line in lines()] == [event, event]
    assert sink.lost == 0


@pytest.mark.parametrize("value", ["\udcff", 10**400, float("inf"), object(), lambda: 0, {1: {2: 3}}, b"\xff", ...])
def test_any_value_can_be_logged(tmp_path: Path, value: Any) -> None:
    with logging_to(tmp_path) as (sink, lines):
        get_logger("x").info("event", value=value)
        assert lines()[0]["event"] == "event"
    assert sink.lost == 0


def test_a_huge_line_is_cut_to_what_finds_it(tmp_path: Path) -> None:
    with logging_to(tmp_path) as (_, lines):
        get_logger("x").info("event", blob="x" * 1_000_000, order_id="o-1")
        (line,) = lines()
    assert line["event"] == "event"
    assert line["truncated_bytes"] > 1_000_000
    assert line["fields"] == ["blob", "order_id"]


def test_the_level_holds_for_structlog_and_the_standard_library(tmp_path: Path) -> None:
    with logging_to(tmp_path, level="WARNING") as (_, lines):
        get_logger("a").info("no")
        get_logger("a").warning("yes")
        logging.getLogger("b").info("no")
        logging.getLogger("b").error("yes")
        assert [(line["logger"], line["level"]) for line in lines()] == [("a", "warning"), ("b", "error")]


def test_an_unknown_level_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected one of debug, info, warning, error, critical, got 'loud'"):
        setup_json_logging(tmp_path, level="loud")


def test_a_second_setup_replaces_the_first_for_loggers_made_before(tmp_path: Path) -> None:
    log = get_logger("x")
    with logging_to(tmp_path / "one"), logging_to(tmp_path / "two") as (_, lines):
        log.info("here")
        logging.getLogger("y").warning("once")
        assert [line["event"] for line in lines()] == ["here", "once"]
    assert not (tmp_path / "one" / "app.ndjson").exists()


def test_with_stream_lines_go_to_stderr_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to(tmp_path, stream=True) as (_, lines):
        get_logger("x").info("both")
        assert json.loads(capsys.readouterr().err) == lines()[0]


def test_before_the_setup_only_warnings_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    structlog.reset_defaults()
    log = get_logger("x")
    log.info("nothing")
    log.warning("something", password="hush")
    out, err = capsys.readouterr()
    assert out == ""
    assert "hush" not in err
    assert json.loads(err)["event"] == "something"
