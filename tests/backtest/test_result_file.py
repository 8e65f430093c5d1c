"""A result's file: what was written is read, what is no result is told with what it is and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backtest.contracts import BacktestConfig, BacktestResult
from backtest.result_file import read_result, write_result
from core.errors import ConfigError


def a_result() -> BacktestResult:
    config = BacktestConfig("BTC/USD", "sma", 0, 0, 1e4, 0.001, 0.0)
    return BacktestResult("sma", "BTC/USD", 0, 60, 1e4, 1.1e4, 10.0, 1.0, 2.0, 1, 1.0, 9.0, [(60, 1.1e4)], config)


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    write_result(a_result(), file)
    assert read_result(file) == a_result()


def test_what_a_command_printed_as_json_is_a_result_too(tmp_path: Path) -> None:
    file = tmp_path / "printed.json"
    file.write_text(json.dumps({**a_result().to_dict(), "files": {"result": "result.json"}}))
    assert read_result(file) == a_result()


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (None, "got No such file or directory; name another file"),
        (b"\x1f\x8b", "got no JSON: "),
        (b"[1]", "got a list; name a result's file"),
        (b"{}", "got an empty object; name"),
        (b'{"summary": {}, "results": []}', "got an object with summary, results; name"),
        (b'{"equity_curve": [], "metrics": null}', "got metrics that are a NoneType; run the backtest again"),
        (b'{"equity_curve": []}', "got TypeError: .*; run the backtest again"),
    ],
)
def test_what_is_no_result_is_told_with_what_it_is_and_what_to_do(
    content: bytes | None, got: str, tmp_path: Path
) -> None:
    file = tmp_path / "other.json"
    if content is not None:
        file.write_bytes(content)
    expected = r"other\.json: expected a backtest's result, as `njord-ctl backtest` saves it \(result_\*\.json\), "
    with pytest.raises(ConfigError, match=expected + got):
        read_result(file)
