"""Offline feeds: what --feed understands, what it says when it does not, and at which pace events come."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import AsyncIterator
from decimal import Decimal
from math import inf
from pathlib import Path

import pytest

from apps.md_ingest.feeds import Feed, FileFeed, OfflineFeed, SyntheticFeed, open_feed
from apps.md_ingest.replay import PacedFeed, pace, parse_speed
from core import codec
from core.clock import NS_PER_MINUTE, NS_PER_S
from core.contracts import Contract, FeedGap, FeedStatus, TradeEvent
from core.errors import ConfigError, UnknownSymbolError
from core.instruments import Instrument, Instruments
from core.market.ingest import MarketDataIngest
from core.market.lines import BadLine
from core.market.sequence import BackfillDone, BackfillRequest
from core.market.synthetic import START_NS

INSTRUMENTS = Instruments(
    [
        Instrument("BTC/USDT", Decimal("0.01"), Decimal("0.00001")),
        Instrument("ETH/USDT", Decimal("0.01"), Decimal("0.0001")),
        Instrument("ATOM/USDT", Decimal("0.001"), Decimal("0.01")),
    ]
)
T0 = 1_723_161_254 * NS_PER_S


def trade(number: int, symbol: str = "BTC/USDT", second: float = 0.0) -> TradeEvent:
    at = T0 + int(second * NS_PER_S)
    return TradeEvent(symbol, 100.0, 1.0, "buy", at, str(number), "binance", at)


def journal(path: Path, *trades: TradeEvent) -> Path:
    path.write_bytes(b"".join(codec.encode(t) + b"\n" for t in trades))
    return path


def trades(feed: OfflineFeed) -> list[TradeEvent]:
    return [e for e in feed.events() if isinstance(e, TradeEvent)]


def test_a_seed_opens_two_hours_of_a_synthetic_market_of_all_symbols() -> None:
    feed = open_feed("synthetic:42", INSTRUMENTS)

    assert isinstance(feed, SyntheticFeed)
    assert feed.name == "synthetic:42:120"
    assert feed.symbols == ("BTC/USDT", "ETH/USDT", "ATOM/USDT")


def test_minutes_symbols_and_channels_of_a_synthetic_market_can_be_chosen() -> None:
    feed = open_feed("synthetic:42:2", INSTRUMENTS, ["ATOM/USDT"], ["trades"])

    *market, ended = feed.events()

    assert {type(e) for e in market} == {TradeEvent}
    assert {e.symbol for e in market} == {"ATOM/USDT"}  # type: ignore[attr-defined]
    assert ended == FeedStatus(
        "ATOM/USDT", "synthetic", "ended", START_NS + 2 * NS_PER_MINUTE, "the synthetic market ended"
    )
    assert list(feed.events()) == [*market, ended], "a second reading gives the same"


def test_the_checksum_of_a_synthetic_market_is_that_of_its_parameters() -> None:
    same = open_feed("synthetic:1:5", INSTRUMENTS).checksum()

    assert len(same) == 64
    assert same == open_feed("synthetic:1:5", INSTRUMENTS).checksum()
    others = [open_feed(spec, INSTRUMENTS).checksum() for spec in ("synthetic:2:5", "synthetic:1:6")]
    assert same not in others
    assert same != open_feed("synthetic:1:5", INSTRUMENTS, ["BTC/USDT"]).checksum()


@pytest.mark.parametrize(
    "spec", ["synthetic", "synthetic:", "synthetic:x", "synthetic:1:0", "synthetic:1:2:3", "synthetic:-1"]
)
def test_a_synthetic_spec_that_is_none_says_what_one_looks_like(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"expected synthetic:SEED or synthetic:SEED:MINUTES .* such as synthetic:42"):
        open_feed(spec, INSTRUMENTS)


def test_a_file_gives_its_symbols_and_the_checksum_of_its_bytes(tmp_path: Path) -> None:
    path = journal(tmp_path / "md.trades.ETHUSDT.ndjson", trade(1, "ETH/USDT"), trade(2, "ETH/USDT"))

    feed = open_feed(str(path), INSTRUMENTS)

    assert isinstance(feed, FileFeed)
    assert feed.symbols == ("ETH/USDT",)
    assert feed.checksum() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(trades(feed)) == len(trades(feed)) == 2


@pytest.mark.parametrize("spec", ["{0}/a.ndjson,{0}/b.ndjson", "{0}/*.ndjson", "{0}/a.ndjson, {0}/*.ndjson"])
def test_several_files_are_named_by_commas_or_a_pattern_and_merged(tmp_path: Path, spec: str) -> None:
    journal(tmp_path / "a.ndjson", trade(1, second=0.0), trade(2, second=2.0))
    journal(tmp_path / "b.ndjson", trade(7, "ETH/USDT", 1.0))

    feed = open_feed(spec.format(tmp_path), INSTRUMENTS)

    assert feed.symbols == ("BTC/USDT", "ETH/USDT")
    assert [t.trade_id for t in trades(feed)] == ["1", "7", "2"]


def test_symbols_that_were_not_asked_for_are_left_out_and_counted(tmp_path: Path) -> None:
    path = journal(tmp_path / "a.ndjson", trade(1), trade(7, "ETH/USDT"))

    feed = open_feed(str(path), INSTRUMENTS, ["BTC/USDT"])

    assert [t.symbol for t in trades(feed)] == ["BTC/USDT"]
    assert isinstance(feed, FileFeed)
    assert feed.left_out == {"ETH/USDT": 1}


def test_bad_lines_are_counted_and_told(tmp_path: Path) -> None:
    path = journal(tmp_path / "a.ndjson", trade(1), trade(2))
    path.write_bytes(path.read_bytes() + b'{"symbol":')
    told: list[BadLine] = []

    feed = open_feed(str(path), INSTRUMENTS, on_bad_line=told.append)

    assert told == [], "looking at the file does not tell"
    assert len(trades(feed)) == 2
    assert feed.rejected == 1
    assert [bad.place for bad in told] == [f"{path}:3"]


@pytest.mark.parametrize(
    ("symbols", "error", "says"),
    [
        (["ETH/USDT"], ConfigError, r"expected ETH/USDT, found BTC/USDT\. .* leave --symbol out"),
        (["DOGE/USDT"], UnknownSymbolError, "unknown symbol 'DOGE/USDT'"),
    ],
)
def test_a_symbol_that_the_file_has_not_is_refused(
    tmp_path: Path, symbols: list[str], error: type[Exception], says: str
) -> None:
    path = journal(tmp_path / "a.ndjson", trade(1))

    with pytest.raises(error, match=says):
        open_feed(str(path), INSTRUMENTS, symbols)


def test_a_file_without_any_configured_symbol_is_refused(tmp_path: Path) -> None:
    path = journal(tmp_path / "a.ndjson", trade(1, "DOGE/USDT"))

    with pytest.raises(ConfigError, match="Add it under `instruments`"):
        open_feed(str(path), INSTRUMENTS)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"channel":"trades","data":[{"coin":"BTC","px":"1","sz":"1","time":1}]}', "a message of Hyperliquid"),
        (
            '{"e":"aggTrade","E":1,"s":"BTCUSDT","a":5,"p":"1","q":"1","f":1,"l":2,"T":1,"m":true}',
            "Record <symbol>@trade instead",
        ),
        (
            '{"e":"trade","E":1,"s":"BTCUSD_PERP","t":5,"p":"1","q":"1","T":1,"m":true,"X":"MARKET"}',
            "is a coin-margined",
        ),
    ],
)
def test_a_capture_of_another_kind_is_refused_with_what_it_is(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "x.raw"
    path.write_text(f"{T0} {line}\n")

    with pytest.raises(ConfigError, match=reason) as refusal:
        open_feed(str(path), INSTRUMENTS)

    assert "under `instruments`" not in str(refusal.value)


def test_every_trade_of_a_symbol_that_first_appears_at_the_end_of_a_file_is_used(tmp_path: Path) -> None:
    late = [trade(n, "ETH/USDT") for n in range(3)]
    path = journal(tmp_path / "md.trades.ndjson", *(trade(n) for n in range(6_000)), *late)

    feed = open_feed(str(path), INSTRUMENTS)

    assert feed.symbols == ("BTC/USDT", "ETH/USDT")
    assert [t for t in trades(feed) if t.symbol == "ETH/USDT"] == late


def test_a_file_that_is_absent_is_refused_with_what_a_feed_may_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file\. Expected a raw Binance capture .* synthetic:42"):
        open_feed(f"{tmp_path}/none.raw", INSTRUMENTS)


def test_an_unknown_channel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected some of trades, book, bbo, ticker, got 'candles'"):
        open_feed("synthetic:1", INSTRUMENTS, channels=["candles"])


def test_a_replayed_journal_with_a_hole_gives_the_gap_of_the_missing_ids(tmp_path: Path) -> None:
    feed = open_feed(str(journal(tmp_path / "a.ndjson", trade(1), trade(4), trade(4), trade(5))), INSTRUMENTS)
    component = MarketDataIngest(INSTRUMENTS, feed.symbols, backfill=False)

    out = [e for raw in feed.events() for e in component.on_event(raw)]

    assert [(e.first_id, e.last_id, e.reason) for e in out if isinstance(e, FeedGap)] == [(2, 3, "the recording ended")]
    assert [e.trade_id for e in out if isinstance(e, TradeEvent)] == ["1", "4", "5"]
    assert component.tallies().duplicates == 1


@pytest.mark.parametrize(("text", "speed"), [("1x", 1.0), ("10x", 10.0), ("0.5x", 0.5), ("3", 3.0), ("max", inf)])
def test_a_speed_is_a_factor_or_max(text: str, speed: float) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["fast", "0x", "-1x", "nanx", "inf", ""])
def test_a_speed_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a factor above 0 such as 1x, 10x or 0\.5x, or max"):
        parse_speed(text)


class DrivenTime:
    """A clock that only sleeping moves on, and ``busy`` seconds after each event."""

    def __init__(self) -> None:
        self.now = 0
        self.slept: list[float] = []

    def now_ns(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += int(seconds * NS_PER_S)


async def collect(stream: AsyncIterator[Contract]) -> list[Contract]:
    return [event async for event in stream]


@pytest.mark.parametrize(("speed", "slept"), [(1.0, [1.0, 2.0]), (10.0, [0.1, 0.2]), (inf, [])])
async def test_events_come_when_their_time_of_receipt_has_come(speed: float, slept: list[float]) -> None:
    time = DrivenTime()
    events = [trade(1), trade(2, second=1.0), trade(3, second=1.0), trade(4, second=3.0)]

    got = await collect(pace(events, speed, clock=time, sleep=time.sleep))

    assert got == events
    assert time.slept == slept


async def test_a_replay_that_is_late_catches_up() -> None:
    time = DrivenTime()
    events = [trade(1), trade(2, second=1.0), trade(3, second=2.0), trade(4, second=3.0)]

    async for event in pace(events, 1.0, clock=time, sleep=time.sleep):
        if event == events[0]:
            time.now += int(2.5 * NS_PER_S)

    assert time.slept == [0.5]


async def test_at_full_speed_others_get_their_turn() -> None:
    time = DrivenTime()

    await collect(pace([trade(n) for n in range(1_000)], inf, clock=time, sleep=time.sleep))

    assert time.slept == [0.0, 0.0, 0.0]


async def test_a_paced_feed_answers_requests_that_it_cannot_serve(tmp_path: Path) -> None:
    offline = open_feed(str(journal(tmp_path / "a.ndjson", trade(1), trade(4), trade(5))), INSTRUMENTS)
    feed: Feed = PacedFeed(offline, inf)
    component = MarketDataIngest(INSTRUMENTS, feed.symbols)
    out: list[Contract] = []

    async for raw in feed.stream():
        assert isinstance(raw, (TradeEvent, BackfillDone, FeedStatus))
        for event in component.on_event(raw):
            if isinstance(event, BackfillRequest):
                feed.backfill(event)
            else:
                out.append(event)
    await feed.aclose()

    assert [(e.first_id, e.last_id, e.reason) for e in out if isinstance(e, FeedGap)] == [
        (2, 3, "missing in the recording")
    ]


def test_the_recorded_captures_replay_completely(recorded_data: Path) -> None:
    feed = open_feed(f"{recorded_data}/binance_spot_*usdt_20240808.raw.gz", INSTRUMENTS)
    component = MarketDataIngest(INSTRUMENTS, feed.symbols, backfill=False)

    out = [e for raw in feed.events() for e in component.on_event(raw)]

    assert feed.symbols == ("BTC/USDT", "ETH/USDT")
    numbers = {s: [int(e.trade_id) for e in out if isinstance(e, TradeEvent) and e.symbol == s] for s in feed.symbols}
    assert numbers["BTC/USDT"] == list(range(3735683259, 3735693015 + 1))
    assert numbers["ETH/USDT"] == list(range(1520538925, 1520545030 + 1))
    tally = component.tallies()
    assert (tally.accepted, tally.duplicates, tally.gaps, tally.backwards, feed.rejected) == (15_863, 0, 0, 0, 0)
    assert tally.ticks == 347


def test_a_capture_replayed_twice_over_loses_nothing_and_repeats_nothing(recorded_data: Path, tmp_path: Path) -> None:
    name = "binance_spot_ethusdt_20240808.raw.gz"
    data = gzip.decompress((recorded_data / name).read_bytes())
    (tmp_path / "twice.raw").write_bytes(data + data)
    feed = open_feed(f"{tmp_path}/twice.raw", INSTRUMENTS)
    component = MarketDataIngest(INSTRUMENTS, feed.symbols, backfill=False)

    for raw in feed.events():
        component.on_event(raw)

    tally = component.tallies()
    assert (tally.accepted, tally.duplicates + tally.late, tally.gaps) == (6_106, 6_106, 0)
