"""The latest events of a journal are the same as by reading all of it, found without doing so."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import codec
from core.clock import NS_PER_DAY, NS_PER_S
from core.contracts import TradeEvent
from core.errors import CodecError
from core.journal import JournalReader, NdjsonJournal
from core.journal import reader as journal_reader

DAY = 20_000 * NS_PER_DAY


def trade(number: int, seconds: float) -> TradeEvent:
    return TradeEvent("BTC/USDT", 60_000.0, 1.0, "buy", DAY + round(seconds * NS_PER_S), str(number))


def journaled(folder: Path, trades: list[TradeEvent]) -> JournalReader:
    with NdjsonJournal(folder / "md.trades.BTCUSDT.ndjson") as journal:
        for event in trades:
            journal.append(codec.encode(event), event.ts)
    return JournalReader(folder)


def latest(reader: JournalReader, start: int) -> list[TradeEvent]:
    return list(reader.read_latest("md.trades.BTCUSDT", TradeEvent, start))


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.floats(-20, 600), min_size=1, max_size=400),
    place=st.floats(-0.1, 1.1),
    near=st.sampled_from([200, 64 * 1024]),
)
def test_what_is_late_by_less_than_a_minute_is_found(steps: list[float], place: float, near: int) -> None:
    times = [100.0]
    for step in steps:
        times.append(max(times) + step)
    trades = [trade(number, seconds) for number, seconds in enumerate(times)]
    start = DAY + round(place * max(times) * NS_PER_S)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_reader, "_NEAR_BYTES", near)
        reader = journaled(Path(folder), trades)
        assert latest(reader, start) == list(reader.read("md.trades.BTCUSDT", TradeEvent, start))


def test_a_start_before_the_active_file_reads_the_rotated_ones_too(tmp_path: Path) -> None:
    trades = [trade(number, number * 3600) for number in range(60)]
    reader = journaled(tmp_path, trades)
    assert len(reader.files("md.trades.BTCUSDT")) == 3
    assert latest(reader, trades[20].ts) == trades[20:]
    assert latest(reader, trades[50].ts) == trades[50:]
    assert latest(reader, trades[-1].ts + 1) == []


def test_little_of_a_long_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = journaled(tmp_path, [trade(number, number) for number in range(30_000)])
    decoded = 0

    def counted(*arguments: object) -> object:
        nonlocal decoded
        decoded += 1
        return plain(*arguments)  # type: ignore[arg-type]

    plain = codec.decode
    monkeypatch.setattr(journal_reader, "decode", counted)
    assert len(latest(reader, DAY + 29_990 * NS_PER_S)) == 10
    assert decoded < 1_500


def test_a_line_of_something_else_is_an_error_that_says_where(tmp_path: Path) -> None:
    reader = journaled(tmp_path, [trade(number, number) for number in range(5)])
    with (tmp_path / "md.trades.BTCUSDT.ndjson").open("ab") as file:
        file.write(b'{"nothing":1}\n')
    with pytest.raises(CodecError, match=r"md\.trades\.BTCUSDT\.ndjson"):
        latest(reader, DAY + 2 * NS_PER_S)
