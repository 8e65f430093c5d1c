"""Recordings: nothing of them is lost but what is broken, and what is broken is named by its place."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from core import codec
from core.contracts import BboEvent, BookEvent, Contract, FeedStatus, Level, TickerEvent, TradeEvent
from core.errors import ConfigError
from core.instruments import Instrument, Instruments
from core.market.binance import DepthDiff, DepthSnapshot
from core.market.book import BookBuilder
from core.market.capture import BBO_CHANNELS, Recording, RecordingReader, merged, raw_events
from core.market.lines import BadLine, read_lines, sha256_of

INSTRUMENTS = Instruments(
    [
        Instrument("BTC/USDT", Decimal("0.01"), Decimal("0.00001")),
        Instrument("ETH/USDT", Decimal("0.01"), Decimal("0.0001")),
    ]
)
SYMBOLS = ("BTC/USDT", "ETH/USDT")
T0 = 1_723_161_254_000_000_000


def trade_line(number: int, receipt: int = 0, symbol: str = "BTCUSDT", price: str = "100.0") -> bytes:
    return (
        b'%d {"stream":"x@trade","data":{"e":"trade","E":1723161255343,"s":"%b","t":%d,"p":"%b","q":"1.0",'
        b'"T":1723161255342,"m":true,"M":true}}' % (receipt or T0 + number, symbol.encode(), number, price.encode())
    )


def depth_line(first: int, last: int, symbol: str = "BTCUSDT", bid: str = "99.0") -> bytes:
    return (
        b'%d {"stream":"x@depth@100ms","data":{"e":"depthUpdate","E":1723161255343,"s":"%b","U":%d,"u":%d,'
        b'"b":[["%b","1.0"]],"a":[["101.0","1.0"]]}}' % (T0 + last, symbol.encode(), first, last, bid.encode())
    )


def snapshot_line(last: int) -> bytes:
    return b'%d {"lastUpdateId":%d,"bids":[["98.0","1.0"]],"asks":[["102.0","1.0"]]}' % (T0 + last, last)


def written(path: Path, lines: Sequence[bytes], end: bytes = b"\n") -> Path:
    data = b"\n".join(lines) + end
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def read(*paths: Path, channels: Sequence[str] = ("trades", "book")) -> tuple[list[Contract], list[BadLine]]:
    bad: list[BadLine] = []
    bbo = not BBO_CHANNELS.isdisjoint(channels)
    readers = [RecordingReader(Recording.at(path), INSTRUMENTS, bad.append, bbo=bbo) for path in paths]
    return list(raw_events(merged(readers), SYMBOLS, channels)), bad


def trade_ids(events: Sequence[Contract], symbol: str = "BTC/USDT") -> list[int]:
    return [int(e.trade_id) for e in events if isinstance(e, TradeEvent) and e.symbol == symbol]


def books(events: Sequence[Contract], symbol: str = "BTC/USDT") -> list[BookEvent]:
    return [e for e in events if isinstance(e, BookEvent) and e.symbol == symbol]


def statuses(events: Sequence[Contract]) -> list[tuple[str, str]]:
    return [(e.symbol, e.state) for e in events if isinstance(e, FeedStatus) and e.state != "ended"]


@pytest.mark.parametrize("name", ["plain.raw", "packed.raw.gz"])
def test_plain_and_compressed_captures_read_alike(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, [trade_line(n) for n in range(1, 4)])

    events, bad = read(path)

    assert trade_ids(events) == [1, 2, 3]
    assert [e.ts_recv_ns for e in events if isinstance(e, TradeEvent)] == [T0 + 1, T0 + 2, T0 + 3]
    assert bad == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (trade_line(2)[:90], "Input data was truncated"),
        (trade_line(2, price="NaN"), "`$.data.p`"),
        (trade_line(2, price="-5.0"), "`float` > 0.0"),
        (trade_line(2, symbol="DOGEUSDT"), "unknown symbol 'DOGEUSDT'"),
        (b"garbage", "expected `receive_ns JSON`, got 'garbage'"),
        (b"12x4 {}", "expected `receive_ns JSON`"),
        (b"\xff\xfe\x00", "expected `receive_ns JSON`"),
    ],
)
def test_a_bad_line_is_named_by_file_and_line_and_loses_nothing_else(tmp_path: Path, line: bytes, says: str) -> None:
    path = written(tmp_path / "a.raw", [trade_line(1), line, trade_line(3)])

    events, bad = read(path)

    assert trade_ids(events) == [1, 3]
    (fault,) = bad
    assert fault.place == f"{path}:2"
    assert says in fault.reason
    assert "The line is skipped" in fault.reason
    assert fault.raw == line
    assert not fault.used


def test_a_torn_last_line_is_told_and_everything_before_is_used(tmp_path: Path) -> None:
    path = written(tmp_path / "a.raw", [trade_line(1), trade_line(2)[:50]], end=b"")

    events, bad = read(path)

    assert trade_ids(events) == [1]
    assert [fault.place for fault in bad] == [f"{path}:2"]


def test_a_cut_gzip_file_gives_all_lines_before_the_cut(tmp_path: Path) -> None:
    path = written(tmp_path / "a.raw.gz", [trade_line(n, price=f"{100 + n * 7 % 50}.5") for n in range(1, 2000)])
    path.write_bytes(path.read_bytes()[:-40])

    events, bad = read(path)

    got = trade_ids(events)
    assert got == list(range(1, got[-1] + 1))
    assert got[-1] > 1000
    (fault,) = bad
    assert fault.place == f"{path}:{got[-1] + 1}"
    assert "it was cut here, everything before is used" in fault.reason


def test_damage_inside_a_gzip_file_is_told_and_everything_before_is_used(tmp_path: Path) -> None:
    path = written(tmp_path / "a.raw.gz", [trade_line(n, price=f"{100 + n * 7 % 50}.5") for n in range(1, 3000)])
    data = bytearray(path.read_bytes())
    data[-3000:-2900] = b"\xff" * 100
    path.write_bytes(bytes(data))

    events, bad = read(path)

    got = trade_ids(events)
    assert got[:1_000] == list(range(1, 1_001))
    assert "got damage" in bad[-1].reason


def test_gzip_members_one_after_the_other_are_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.raw.gz"
    path.write_bytes(gzip.compress(trade_line(1) + b"\n") + gzip.compress(trade_line(2) + b"\n"))

    assert trade_ids(read(path)[0]) == [1, 2]


def test_a_field_that_is_new_is_told_once_and_the_message_used(tmp_path: Path) -> None:
    lines = [trade_line(n).replace(b'"M":', b'"zz":1,"M":') for n in (1, 2)]
    path = written(tmp_path / "a.raw", lines)

    events, bad = read(path)

    assert trade_ids(events) == [1, 2]
    (fault,) = bad
    assert fault.used
    assert "unknown field `zz`" in fault.reason


def test_a_receive_time_that_goes_back_is_told_and_the_order_of_the_file_kept(tmp_path: Path) -> None:
    path = written(tmp_path / "a.raw", [trade_line(1, T0 + 5_000_000_000), trade_line(2, T0)])

    events, bad = read(path)

    assert trade_ids(events) == [1, 2]
    (fault,) = bad
    assert fault.used
    assert "goes back by 5.000 s" in fault.reason


def test_a_capture_without_receive_times_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.raw", [trade_line(n).partition(b" ")[2] for n in (1, 2)])

    events, _ = read(path)

    assert trade_ids(events) == [1, 2]


def test_a_first_line_torn_off_in_mid_stream_does_not_hide_what_the_file_is(tmp_path: Path) -> None:
    path = written(tmp_path / "a.raw", [trade_line(1)[70:], trade_line(2)])

    events, bad = read(path)

    assert trade_ids(events) == [2]
    assert [fault.place for fault in bad] == [f"{path}:1"]


@pytest.mark.parametrize("content", [b"", b"date,open,high\n1,2,3\n", b'{"symbol":"BTC/USDT","pnl":1}\n'])
def test_a_file_that_is_nothing_of_the_kind_is_refused_with_what_was_expected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"x\.csv:1: expected a raw Binance capture .* or one of our journals"):
        Recording.at(path)


def test_a_file_that_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*: No such file"):
        list(read_lines(tmp_path / "no.raw", lambda bad: None))


def test_a_journal_of_trades_gives_back_the_very_trades(tmp_path: Path) -> None:
    events, _ = read(written(tmp_path / "a.raw", [trade_line(n) for n in range(1, 6)]))
    trades = [e for e in events if isinstance(e, TradeEvent)]
    journal = written(tmp_path / "md.trades.BTCUSDT.20240808.ndjson.gz", [codec.encode(t) for t in trades])

    again, bad = read(journal)

    assert [e for e in again if isinstance(e, TradeEvent)] == trades
    assert bad == []


def test_a_journal_of_books_gives_back_the_very_books(tmp_path: Path) -> None:
    events, _ = read(written(tmp_path / "a.raw", [depth_line(9, 11), snapshot_line(10), depth_line(12, 13)]))
    journal = written(tmp_path / "md.book.BTCUSDT.ndjson", [codec.encode(b) for b in books(events)])

    again, _ = read(journal)

    assert len(books(again)) == 2
    assert books(again) == books(events)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"symbol":"BTC/USDT","price":NaN}', "JSON"),
        (b'{"symbol":"BTC/USDT","price":-1.0,"qty":1.0,"side":"buy","ts":1}', "TradeEvent.price"),
        (b'{"symbol":"BTC/USDT","price":1.0,"qty":1.0,"side":"buy","ts":1,"zz":1}', "unknown field zz"),
        (b'{"symbol":"DOGE/USDT","price":1.0,"qty":1.0,"side":"buy","ts":1}', "unknown symbol 'DOGE/USDT'"),
    ],
)
def test_a_bad_line_in_a_journal_is_named_and_skipped(tmp_path: Path, line: bytes, says: str) -> None:
    good = [codec.encode(TradeEvent("BTC/USDT", 1.0, 1.0, "buy", T0 + n, str(n))) for n in (1, 2)]
    path = written(tmp_path / "md.trades.BTCUSDT.ndjson", [good[0], line, good[1]])

    events, bad = read(path)

    assert trade_ids(events) == [1, 2]
    (fault,) = bad
    assert fault.place == f"{path}:2"
    assert says in fault.reason


def test_files_merge_by_receipt_and_ties_keep_the_order_given(tmp_path: Path) -> None:
    one = written(tmp_path / "b.raw", [trade_line(1, T0 + 1), trade_line(2, T0 + 5)])
    two = written(tmp_path / "a.raw", [trade_line(7, T0 + 1, "ETHUSDT"), trade_line(8, T0 + 2, "ETHUSDT")])

    events, _ = read(one, two)

    assert [e.trade_id for e in events if isinstance(e, TradeEvent)] == ["1", "7", "8", "2"]


def test_a_snapshot_finds_its_symbol_by_its_update_id(tmp_path: Path) -> None:
    far = 50_000_000_000
    lines = [depth_line(9, 11), snapshot_line(far + 10), depth_line(far + 9, far + 11, "ETHUSDT"), snapshot_line(10)]

    events, bad = read(written(tmp_path / "a.raw", lines))

    assert [b.last_id for b in books(events, "BTC/USDT")] == [11]
    assert [b.last_id for b in books(events, "ETH/USDT")] == [far + 11]
    assert [fault for fault in bad if not fault.used] == []


def test_a_snapshot_that_belongs_to_nothing_is_told(tmp_path: Path) -> None:
    events, bad = read(written(tmp_path / "a.raw", [trade_line(1), snapshot_line(10)]))

    assert books(events) == []
    assert bad[0].place.endswith("a.raw:2")
    assert "Record the @depth stream" in bad[0].reason


def test_a_capture_that_starts_in_mid_stream_has_trades_and_reports_the_book_unavailable(tmp_path: Path) -> None:
    lines = [depth_line(n, n) for n in range(1, 40)]
    lines.insert(5, trade_line(1))

    events, _ = read(written(tmp_path / "a.raw", lines))

    assert trade_ids(events) == [1]
    assert books(events) == []
    assert statuses(events) == [("BTC/USDT", "stale")]


def test_the_end_is_told_for_each_symbol(tmp_path: Path) -> None:
    events, _ = read(written(tmp_path / "a.raw", [trade_line(1)]))

    ended = [e.symbol for e in events if isinstance(e, FeedStatus) and e.state == "ended"]
    assert ended == list(SYMBOLS)


def test_the_checksum_is_that_of_sha256sum_and_depends_on_the_order_of_several(tmp_path: Path) -> None:
    one, two = written(tmp_path / "a", [b"x"]), written(tmp_path / "b", [b"y"])

    assert sha256_of([one]) == "73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac"
    assert sha256_of([one, two]) != sha256_of([two, one])


# What follows reads the recorded captures.

FILES = {"BTC/USDT": "binance_spot_btcusdt_20240808.raw.gz", "ETH/USDT": "binance_spot_ethusdt_20240808.raw.gz"}
IDS = {"BTC/USDT": (3735683259, 3735693015), "ETH/USDT": (1520538925, 1520545030)}


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_the_recorded_capture_is_complete_and_its_book_agrees_with_the_venues_own_best_prices(
    recorded_data: Path, symbol: str
) -> None:
    path = recorded_data / FILES[symbol]
    events, bad = read(path)

    first, last = IDS[symbol]
    assert bad == []
    assert trade_ids(events, symbol) == list(range(first, last + 1))
    assert len(books(events, symbol)) > 3_400
    assert all(b.bids[0][0] < b.asks[0][0] and len(b.bids) == len(b.asks) == 20 for b in books(events, symbol))
    assert all(a.last_id < b.last_id for a, b in pairwise(books(events, symbol)))
    assert statuses(events) == []
    agreed, compared = _against_book_tickers(path, {b.last_id: b for b in books(events, symbol)})
    assert compared > 500
    assert agreed == compared


def _against_book_tickers(path: Path, by_id: dict[int, BookEvent]) -> tuple[int, int]:
    """How many best prices that the venue itself gave at the very update ids of our books agree with them."""
    agreed = compared = 0
    for ticker in _book_tickers(path):
        book = by_id.get(int(ticker["u"]))
        if book is not None:
            compared += 1
            best = (float(ticker["b"]), float(ticker["B"])), (float(ticker["a"]), float(ticker["A"]))
            agreed += best == (book.bids[0], book.asks[0])
    return agreed, compared


def _book_tickers(path: Path) -> Iterator[dict[str, str]]:
    for _, line in read_lines(path, lambda bad: None):
        if b"@bookTicker" in line:
            yield codec.decode_plain(line.partition(b" ")[2])["data"]


def test_the_recorded_tickers_come_when_asked_for(recorded_data: Path) -> None:
    events, _ = read(recorded_data / FILES["BTC/USDT"], channels=["ticker"])

    tickers = [e for e in events if isinstance(e, TickerEvent)]
    assert len(tickers) == 28_040
    assert len(events) == 28_040 + len(SYMBOLS)
    assert all(t.ts > 0 for t in tickers)


def test_every_recorded_best_bid_and_offer_is_the_venues_own(recorded_data: Path) -> None:
    path = recorded_data / FILES["BTC/USDT"]
    events, _ = read(path, channels=["bbo"])

    ours = [(e.update_id, e.bid_price, e.bid_qty, e.ask_price, e.ask_qty) for e in events if isinstance(e, BboEvent)]

    assert ours == [(int(t["u"]), *(float(t[key]) for key in ("b", "B", "a", "A"))) for t in _book_tickers(path)]
    assert len(ours) == 28_040


def test_a_journal_of_best_bids_and_offers_can_be_replayed(tmp_path: Path) -> None:
    best = [BboEvent("BTC/USDT", 99.0, 1.0, 100.0, 2.0, number, T0, "v", T0) for number in (1, 2)]
    path = written(tmp_path / "md.bbo.BTCUSDT.ndjson", [codec.encode(event) for event in best])

    events, bad = read(path, channels=["bbo"])

    assert bad == []
    assert events[:2] == best


def _recorded_lines(path: Path) -> list[bytes]:
    return [line for _, line in read_lines(path, lambda bad: None)]


def test_a_recorded_capture_cut_in_mid_stream_keeps_its_trades_and_has_no_book(
    recorded_data: Path, tmp_path: Path
) -> None:
    lines = _recorded_lines(recorded_data / FILES["ETH/USDT"])[2_000:6_000]

    events, bad = read(written(tmp_path / "cut.raw", [lines[0][100:], *lines[1:]]))

    got = trade_ids(events, "ETH/USDT")
    assert got == list(range(got[0], got[-1] + 1))
    assert books(events, "ETH/USDT") == []
    assert statuses(events) == [("ETH/USDT", "stale")]
    assert len(bad) == 1


def _whole_book_at(path: Path, last_id: int) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
    """Every level at that update: what the venue would have answered to a request for a snapshot."""
    builder = BookBuilder("ETH/USDT")
    for item in RecordingReader(Recording.at(path), INSTRUMENTS, lambda bad: None).items():
        if isinstance(item, DepthSnapshot):
            builder.on_snapshot(item, 1)
        elif isinstance(item, DepthDiff):
            builder.on_diff(item)
        if builder.book.last_id == last_id:
            break
    return builder.book.top(len(builder.book))


def test_a_recorded_update_that_is_lost_is_a_break_until_a_later_snapshot(recorded_data: Path, tmp_path: Path) -> None:
    path = recorded_data / FILES["ETH/USDT"]
    whole = books(read(path)[0], "ETH/USDT")
    lost, healed = whole[1_000], whole[2_000]
    lines = [line for line in _recorded_lines(path) if b'"u":%d,"b":[[' % lost.last_id not in line]
    at = next(n for n, line in enumerate(lines) if b'"u":%d,"b":[[' % healed.last_id in line)
    bids, asks = _whole_book_at(path, healed.last_id)
    levels = ",".join(f'["{p}","{q}"]' for p, q in bids), ",".join(f'["{p}","{q}"]' for p, q in asks)
    stamp = lines[at].partition(b" ")[0].decode()
    late = f'{stamp} {{"lastUpdateId":{healed.last_id},"bids":[{levels[0]}],"asks":[{levels[1]}]}}'
    lines.insert(at + 1, late.encode())

    events, _ = read(written(tmp_path / "lossy.raw", lines))

    got = books(events, "ETH/USDT")
    assert got[:1_000] == whole[:1_000]
    assert [(b.last_id, b.bids, b.asks) for b in got[1_000:]] == [(b.last_id, b.bids, b.asks) for b in whole[2_000:]]
    assert statuses(events) == [("ETH/USDT", "stale"), ("ETH/USDT", "live")]
    assert trade_ids(events, "ETH/USDT") == list(range(IDS["ETH/USDT"][0], IDS["ETH/USDT"][1] + 1))
