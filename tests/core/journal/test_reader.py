"""Reading journals back: one ordered stream over all files, exact ranges, clear errors, beside a live writer."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from core.clock import NS_PER_DAY, NS_PER_MINUTE
from core.codec import encode
from core.contracts import OHLCVBar, TradeEvent
from core.errors import CodecError, ConfigError, FatalError
from core.journal import JournalReader, NdjsonJournal
from core.journal import files as journal_files
from core.journal.rotation import compress_closed

MIDNIGHT = 20_361 * NS_PER_DAY  # 30 September 2025
STREAM = "ohlcv.1m.ATOMUSDT"


def bar(minute: int, symbol: str = "ATOM/USDT") -> OHLCVBar:
    start = MIDNIGHT + minute * NS_PER_MINUTE
    return OHLCVBar(symbol, "1m", start, start + NS_PER_MINUTE, 10.0, 12.0, 9.0, 11.0, float(minute), minute)


def write(folder: Path, bars: Sequence[OHLCVBar], rotate_bytes: int = 0) -> None:
    with NdjsonJournal(folder / f"{STREAM}.ndjson", rotate_bytes=rotate_bytes) as journal:
        for one in bars:
            journal.append(encode(one), one.ts_ns)


def three_days(folder: Path) -> list[OHLCVBar]:
    """Bars over three days: a compressed file, a plain one and the active one."""
    bars = [bar(m) for m in range(0, 3 * 1440, 10)]
    write(folder, bars)
    plain = journal_files.closed_files(folder)[1].path
    content = plain.read_bytes()
    compress_closed(folder)
    plain.write_bytes(content)
    plain.with_name(plain.name + ".gz").unlink()
    assert sorted(p.name.removeprefix(STREAM) for p in folder.iterdir() if p.suffix != ".sha256") == [
        ".20250930.ndjson.gz",
        ".20251001.ndjson",
        ".ndjson",
    ]
    return bars


def test_compressed_rotated_and_active_files_are_one_stream(tmp_path: Path) -> None:
    bars = three_days(tmp_path)

    assert list(JournalReader(tmp_path).read_bars("ATOM/USDT", "1m", 0, 2**62)) == bars
    assert list(JournalReader(tmp_path).lines(STREAM)) == [encode(b) for b in bars]


def test_the_symbol_may_be_written_without_its_slash(tmp_path: Path) -> None:
    bars = three_days(tmp_path)

    assert list(JournalReader(tmp_path).read_bars("ATOMUSDT", "1m")) == bars


@pytest.mark.parametrize(
    ("first", "last"), [(0, 1440), (1430, 1450), (2000, 2000), (2000, 2001), (4310, 9999), (-9999, 0), (1440, 2880)]
)
def test_a_range_is_exact_to_the_nanosecond_and_excludes_its_end(tmp_path: Path, first: int, last: int) -> None:
    bars = three_days(tmp_path)
    start, end = MIDNIGHT + first * NS_PER_MINUTE, MIDNIGHT + last * NS_PER_MINUTE
    reader = JournalReader(tmp_path)

    for low, high in ((start, end), (start + 1, end), (start, end + 1), (start - 1, end - 1)):
        assert list(reader.read_bars("ATOM/USDT", "1m", low, high)) == [b for b in bars if low <= b.ts_open < high]
        assert list(reader.read(STREAM, OHLCVBar, low, high)) == [b for b in bars if low <= b.ts_ns < high]


def test_files_outside_the_range_are_not_read(tmp_path: Path) -> None:
    bars = [bar(m) for m in range(0, 9 * 1440, 60)]
    write(tmp_path, bars)
    files = [f.path for f in journal_files.closed_files(tmp_path)]
    wanted = [b for b in bars if bar(4 * 1440).ts_open <= b.ts_open < bar(5 * 1440).ts_open]
    for far in (files[0], files[1]):
        far.write_bytes(b"damaged\n")
    later = files[-1].read_bytes().splitlines()
    files[-1].write_bytes(later[0] + b"\ndamaged\n")

    assert list(JournalReader(tmp_path).read_bars("ATOM/USDT", "1m", wanted[0].ts_open, wanted[-1].ts_close)) == wanted


def test_a_file_that_is_plain_and_compressed_at_once_counts_once(tmp_path: Path) -> None:
    bars = three_days(tmp_path)
    plain = next(f.path for f in journal_files.closed_files(tmp_path) if not f.compressed)
    plain.with_name(plain.name + ".gz").write_bytes(gzip.compress(plain.read_bytes()))

    assert list(JournalReader(tmp_path).read_bars("ATOM/USDT", "1m")) == bars


def test_a_file_that_is_compressed_between_listing_and_reading_is_still_read(tmp_path: Path) -> None:
    bars = three_days(tmp_path)

    stream = JournalReader(tmp_path).read_bars("ATOM/USDT", "1m")
    first = next(stream)
    compress_closed(tmp_path)

    assert [first, *stream] == bars


def test_other_symbols_of_the_same_file_name_are_not_mixed_in(tmp_path: Path) -> None:
    write(tmp_path, [bar(0, "ATOM/USDT"), bar(1, "ATO/MUSDT"), bar(2, "ATOM/USDT")])

    assert list(JournalReader(tmp_path).read_bars("ATOM/USDT", "1m")) == [bar(0), bar(2)]


def test_streams_whose_names_begin_alike_are_kept_apart(tmp_path: Path) -> None:
    for stream in ("md.trades.A", "md.trades.A.B", "md.trades"):
        with NdjsonJournal(tmp_path / f"{stream}.ndjson", rotate_bytes=1) as journal:
            journal.write_lines([stream])

    reader = JournalReader(tmp_path)

    assert reader.streams() == ["md.trades", "md.trades.A", "md.trades.A.B"]
    assert [list(reader.lines(s)) for s in reader.streams()] == [[s.encode()] for s in reader.streams()]


def test_a_malformed_line_is_named_by_file_and_line(tmp_path: Path) -> None:
    bars = three_days(tmp_path)
    (tmp_path / f"{STREAM}.20251001.ndjson").write_bytes(encode(bars[144]) + b"\n{broken\n")
    stream = JournalReader(tmp_path).read_bars("ATOM/USDT", "1m")

    with pytest.raises(CodecError, match=r"ohlcv\.1m\.ATOMUSDT\.20251001\.ndjson:2: .*broken"):
        list(stream)


@pytest.mark.parametrize("line", [b"", b"[]", b'{"symbol":"A/B"}', b"\xff", encode(bar(1))[:-1] + b',"new":1}'])
def test_whatever_is_no_bar_is_malformed(tmp_path: Path, line: bytes) -> None:
    (tmp_path / f"{STREAM}.ndjson").write_bytes(encode(bar(0)) + b"\n" + line + b"\n" + encode(bar(2)) + b"\n")

    with pytest.raises(CodecError, match=r"\.ndjson:2: "):
        list(JournalReader(tmp_path).read_bars("ATOM/USDT", "1m"))


def test_half_a_line_at_the_end_of_the_active_file_is_left_out_and_reported(tmp_path: Path) -> None:
    write(tmp_path, [bar(0), bar(1)])
    with (tmp_path / f"{STREAM}.ndjson").open("ab") as file:
        file.write(b'{"symbol":"AT')
    reader = JournalReader(tmp_path)

    assert list(reader.read_bars("ATOM/USDT", "1m")) == [bar(0), bar(1)]
    assert reader.torn_bytes == 13
    assert reader.last(STREAM, OHLCVBar) == bar(1)


def test_half_a_line_in_a_rotated_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / f"{STREAM}.20250930.ndjson").write_bytes(encode(bar(0)) + b"\n" + encode(bar(1)))

    with pytest.raises(CodecError, match=r"20250930\.ndjson:2: expected a whole line"):
        list(JournalReader(tmp_path).read_bars("ATOM/USDT", "1m"))


def test_a_damaged_compressed_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    write(tmp_path, [bar(m) for m in range(2000)])
    (packed,) = compress_closed(tmp_path)
    packed.write_bytes(packed.read_bytes()[:-20])

    with pytest.raises(FatalError, match=r"cannot read .*20250930\.ndjson\.gz"):
        list(JournalReader(tmp_path).read_bars("ATOM/USDT", "1m"))


def test_a_stream_nobody_wrote_is_empty_and_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    assert list(JournalReader(tmp_path).read_bars("ATOM/USDT", "1m")) == []
    assert JournalReader(tmp_path).last(STREAM, OHLCVBar) is None
    with pytest.raises(ConfigError, match="nowhere"):
        JournalReader(tmp_path / "nowhere")


def test_one_file_alone_can_be_read(tmp_path: Path) -> None:
    bars = three_days(tmp_path)

    alone = [
        list(JournalReader(tmp_path / f"{STREAM}{end}").read_bars("ATOM/USDT", "1m"))
        for end in (".20250930.ndjson.gz", ".20251001.ndjson", ".ndjson")
    ]

    assert [b for part in alone for b in part] == bars
    assert all(alone)


def test_the_last_event_is_found_in_whichever_file_it_is(tmp_path: Path) -> None:
    bars = three_days(tmp_path)
    reader = JournalReader(tmp_path)

    assert reader.last(STREAM, OHLCVBar) == bars[-1]
    (tmp_path / f"{STREAM}.ndjson").write_bytes(b"")
    assert reader.last(STREAM, OHLCVBar) == bars[287]
    compress_closed(tmp_path)
    (tmp_path / f"{STREAM}.ndjson").unlink()
    assert reader.last(STREAM, OHLCVBar) == bars[287]


def test_nothing_is_read_ahead_of_what_is_asked_for(tmp_path: Path) -> None:
    bars = three_days(tmp_path)
    (tmp_path / f"{STREAM}.ndjson").write_bytes(b"damaged\n")

    assert next(JournalReader(tmp_path).read_bars("ATOM/USDT", "1m")) == bars[0]


def test_readers_see_a_prefix_of_what_is_written_while_files_are_rotated_and_compressed(tmp_path: Path) -> None:
    total = 20_000
    done = threading.Event()

    def keep_writing() -> None:
        with NdjsonJournal(tmp_path / "md.trades.AB.ndjson", rotate_bytes=20_000) as journal:
            for i in range(total):
                journal.append(encode(TradeEvent("A/B", 1.0, 1.0, "buy", MIDNIGHT + i, str(i))), MIDNIGHT + i)
                if i % 7 == 0:
                    journal.flush()
        done.set()

    def keep_compressing() -> None:
        while not done.is_set():
            compress_closed(tmp_path)

    threads = [threading.Thread(target=keep_writing), threading.Thread(target=keep_compressing)]
    for thread in threads:
        thread.start()
    reader = JournalReader(tmp_path)
    seen = 0
    while not done.is_set():
        ids = [int(t.trade_id) for t in reader.read("md.trades.AB", TradeEvent)]
        assert ids == list(range(len(ids)))
        assert len(ids) >= seen
        seen = len(ids)
    for thread in threads:
        thread.join()

    assert [int(t.trade_id) for t in reader.read("md.trades.AB", TradeEvent)] == list(range(total))
