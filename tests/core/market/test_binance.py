"""Binance's messages: what they mean, and what is said about those that mean nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest

from core.contracts import BboEvent, TradeEvent
from core.errors import CodecError, ContractError, RejectedError, UnknownSymbolError
from core.instruments import Instrument, Instruments
from core.market.binance import BinanceParser, DepthDiff, DepthSnapshot

INSTRUMENTS = Instruments([Instrument("BTC/USDT", Decimal("0.01"), Decimal("0.00001"))])
BARE_TRADE = (
    b'{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000",'
    b'"T":1723161255342,"m":true,"M":true}'
)
BARE_DEPTH = (
    b'{"e":"depthUpdate","E":1723161255308,"s":"BTCUSDT","U":10,"u":12,"b":[["61837.63000000","0.00000000"]],'
    b'"a":[["61837.64000000","1.5"]]}'
)
BARE_TICKER = b'{"u":12,"s":"BTCUSDT","b":"61837.63","B":"3.7","a":"61837.64","A":"1.5"}'
SNAPSHOT = b'{"lastUpdateId":12,"bids":[["61837.63","3.7"]],"asks":[["61837.64","1.5"]]}'
TRADE = TradeEvent(
    "BTC/USDT", 61837.63, 0.02, "sell", 1723161255342_000000, "3735683259", "binance", 1723161254087896568
)


def combined(stream: str, data: bytes) -> bytes:
    return b'{"stream":"%b","data":%b}' % (stream.encode(), data)


def parser(**options: bool) -> BinanceParser:
    return BinanceParser(INSTRUMENTS, **options)


@pytest.mark.parametrize(
    "raw",
    [
        combined("btcusdt@trade", BARE_TRADE),
        BARE_TRADE,
        b' { "data" : ' + BARE_TRADE + b', "stream" : "btcusdt@trade" }',
    ],
)
def test_a_trade_reads_alike_combined_bare_and_spaced(raw: bytes) -> None:
    assert parser().parse(raw, TRADE.ts_recv_ns) == TRADE


def test_a_buyer_who_was_the_maker_means_that_a_seller_took() -> None:
    event = parser().parse(BARE_TRADE.replace(b'"m":true', b'"m":false'))

    assert isinstance(event, TradeEvent)
    assert event.side == "buy"


def test_times_in_microseconds_are_known_by_their_size() -> None:
    event = parser().parse(BARE_TRADE.replace(b"1723161255342", b"1723161255342123"))

    assert isinstance(event, TradeEvent)
    assert event.ts == 1723161255342123000


@pytest.mark.parametrize("raw", [combined("btcusdt@depth@100ms", BARE_DEPTH), BARE_DEPTH])
def test_an_update_of_the_book_carries_its_ids_and_zero_quantities(raw: bytes) -> None:
    assert parser().parse(raw, 5) == DepthDiff(
        "BTC/USDT", 10, 12, [(61837.63, 0.0)], [(61837.64, 1.5)], 1723161255308_000000, 5
    )


def test_a_snapshot_names_no_symbol() -> None:
    assert parser().parse(SNAPSHOT, 5) == DepthSnapshot("", 12, [(61837.63, 3.7)], [(61837.64, 1.5)], 5)


def test_best_bid_and_ask_are_left_out_unless_asked_for() -> None:
    assert parser().parse(BARE_TICKER) is None


@pytest.mark.parametrize("raw", [combined("btcusdt@bookTicker", BARE_TICKER), BARE_TICKER])
def test_best_bid_and_ask_stand_at_the_venues_latest_time(raw: bytes) -> None:
    reader = parser(bbo=True)
    reader.parse(BARE_TRADE)

    event = reader.parse(raw, 7)

    assert event == BboEvent("BTC/USDT", 61837.63, 3.7, 61837.64, 1.5, 12, 1723161255342_000000, "binance", 7)


def test_the_answer_to_a_subscription_is_no_market_data() -> None:
    assert parser().parse(b'{"result":null,"id":1}') is None


def test_a_field_that_is_new_to_us_is_counted_and_the_message_used() -> None:
    reader = parser()

    event = reader.parse(combined("btcusdt@trade", BARE_TRADE.replace(b'"m":', b'"zz":[1],"m":')), TRADE.ts_recv_ns)

    assert event == TRADE
    assert reader.unknown_fields == {"trade: Object contains unknown field `zz` - at `$.data`": 1}


@pytest.mark.parametrize(
    ("raw", "error", "says"),
    [
        (BARE_TRADE[:60], CodecError, "Input data was truncated"),
        (combined("btcusdt@trade", BARE_TRADE)[:-9], CodecError, "Input data was truncated"),
        (BARE_TRADE.replace(b'"61837.63000000"', b"NaN"), CodecError, "malformed"),
        (combined("btcusdt@trade", BARE_TRADE).replace(b"61837.63000000", b"NaN"), ContractError, r"\$\.data\.p"),
        (BARE_TRADE.replace(b'"0.02', b'"-0.02'), ContractError, r"Expected `float` > 0\.0 - at `\$\.q`"),
        (BARE_TRADE.replace(b'"0.02000000"', b'"1e400"'), ContractError, r"Number out of range"),
        (BARE_TRADE.replace(b'"p":"61837.63000000",', b""), ContractError, "missing required field `p`"),
        (BARE_DEPTH.replace(b'"1.5"', b'"-1.5"'), ContractError, r">= 0\.0 - at `\$\.a\[0\]\[1\]`"),
        (BARE_DEPTH.replace(b'"61837.64000000"', b'"nan"'), ContractError, r"\$\.a\[0\]\[0\]"),
        (BARE_TRADE.replace(b"BTCUSDT", b"BTCUSD"), UnknownSymbolError, "did you mean"),
        (BARE_TRADE.replace(b'"trade"', b'"kline"'), CodecError, "one of trade, depthUpdate, bookTicker, got 'kline'"),
        (combined("btcusdt@kline_1m", b"{}"), CodecError, "@trade, @depth, @bookTicker"),
        (b'{"foo":1}', CodecError, "got None"),
        (b"[1,2]", ContractError, "Expected `object`"),
        (b"\xff\xfe", CodecError, "complete JSON object"),
        (b"", CodecError, "complete JSON object"),
    ],
)
def test_what_cannot_be_read_says_where_and_why(raw: bytes, error: type[RejectedError], says: str) -> None:
    reader = parser()

    with pytest.raises(error, match=says):
        reader.parse(raw)

    assert reader.parse(BARE_TRADE, TRADE.ts_recv_ns) == TRADE


FUTURES = {
    "trade": BARE_TRADE.replace(b'"M":true', b'"X":"MARKET"'),
    "update": BARE_DEPTH.replace(b'"U":10', b'"T":1723161255308,"pu":9,"U":10'),
    "ticker": BARE_TICKER[:-1] + b',"e":"bookTicker","E":1723161255343,"T":1723161255342}',
    "snapshot": SNAPSHOT[:-1] + b',"E":1723161255343,"T":1723161255342}',
}


@pytest.mark.parametrize("message", FUTURES.values(), ids=FUTURES)
def test_a_message_of_usd_m_futures_is_refused_as_that(message: bytes) -> None:
    with pytest.raises(CodecError, match="is of USD-M futures, expected spot"):
        parser(bbo=True).parse(message)


@pytest.mark.parametrize("message", [*list(FUTURES.values())[:3], BARE_TRADE], ids=[*list(FUTURES)[:3], "bare"])
def test_a_message_of_a_coin_margined_future_is_refused_as_that(message: bytes) -> None:
    with pytest.raises(CodecError, match=r"'BTCUSD_PERP' is a coin-margined .* quantities are contracts"):
        parser(bbo=True).parse(message.replace(b"BTCUSDT", b"BTCUSD_PERP"))


@pytest.mark.parametrize("stream", ["btcusdt@aggTrade", ""])
def test_aggregate_trades_are_refused_with_what_to_record_instead(stream: str) -> None:
    message = b'{"e":"aggTrade","E":1,"s":"BTCUSDT","a":5,"p":"1","q":"1","f":1,"l":2,"T":1,"m":true,"M":true}'

    with pytest.raises(CodecError, match=r"aggregate trades: .* Record <symbol>@trade instead"):
        parser().parse(combined(stream, message) if stream else message)


@pytest.mark.parametrize(
    ("message", "venue"),
    [
        (b'{"channel":"trades","data":[{"coin":"BTC","side":"B","px":"1","sz":"1","time":1,"tid":1}]}', "Hyperliquid"),
        (b'{"channel":"l2Book","data":{"coin":"BTC","time":1,"levels":[[],[]]}}', "Hyperliquid"),
        (b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[]}', "Bybit"),
        (b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[]}', "OKX"),
    ],
)
def test_a_message_of_another_venue_is_refused_as_that(message: bytes, venue: str) -> None:
    with pytest.raises(CodecError, match=f"a message of {venue}, expected one of Binance's spot market"):
        parser().parse(message)
