"""One valid example of every contract, and a hypothesis strategy for each, built from the contract's own types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hypothesis import strategies as st

from core import contracts as c
from core.topics import TABLE

CONTRACTS: Final = [row.contract for row in TABLE]
NAMES: Final = [contract.__name__ for contract in CONTRACTS]

_times = st.integers(1, c.LATEST_NS)
_above_zero = st.floats(min_value=1e-9, max_value=1e12)
_money = st.floats(min_value=-1e12, max_value=1e12)
_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | _money | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=8,
)
_meta = st.dictionaries(_texts, _plain, max_size=3)
_sides = st.sampled_from(c.SIDES)


@st.composite
def _levels(draw: st.DrawFn) -> dict[str, Any]:
    prices = sorted(draw(st.lists(_above_zero, max_size=6, unique=True)))
    cut = draw(st.integers(0, len(prices)))
    qty = draw(_above_zero)
    bids = tuple((price, qty) for price in reversed(prices[:cut]))
    asks = tuple((price, qty) for price in prices[cut:])
    return {"bids": bids, "asks": asks}


@st.composite
def _bar(draw: st.DrawFn) -> c.OHLCVBar:
    low, a, b, high = sorted(draw(st.lists(_above_zero, min_size=4, max_size=4)))
    start = draw(st.integers(0, c.LATEST_NS - 1))
    return c.OHLCVBar(
        draw(_names),
        "1m",
        start,
        start + 1,
        a,
        high,
        low,
        b,
        draw(st.floats(0, 1e12)),
        draw(st.integers(0, 9)),
        draw(st.booleans()),
    )


_order: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "symbol": _names,
    "side": _sides,
    "type": st.sampled_from(c.ORDER_TYPES),
    "qty": _above_zero,
    "limit_price": _above_zero,
}
_denials = st.builds(
    c.RiskDecision,
    _names,
    st.just(False),
    _names,
    st.dictionaries(_texts, _money, max_size=3),
    _texts,
    st.none() | st.sampled_from(c.DenialCode),
    _texts,
    _texts,
    _times,
    _meta,
)
_decisions = _denials | st.builds(c.RiskDecision, _names, st.just(True), st.just(""), st.just({"cap": 1.0}))

EVENTS: Final[Mapping[type[c.Contract], st.SearchStrategy[c.Contract]]] = {
    c.TradeEvent: st.builds(c.TradeEvent, _names, _above_zero, _above_zero, _sides, _times, _texts, _texts, _times),
    c.BookEvent: _levels().flatmap(
        lambda levels: st.builds(
            c.BookEvent,
            symbol=_names,
            bids=st.just(levels["bids"]),
            asks=st.just(levels["asks"]),
            checksum=st.integers(0, 2**32 - 1),
            ts=_times,
            last_id=st.integers(0, 2**53),
            venue=_texts,
        )
    ),
    c.BboEvent: _above_zero.flatmap(
        lambda bid: st.builds(
            c.BboEvent, _names, st.just(bid), _above_zero, st.just(bid * 2), _above_zero, st.integers(0, 2**53), _times
        )
    ),
    c.TickerEvent: st.builds(c.TickerEvent, _names, _above_zero, _above_zero, _above_zero, _above_zero, _times),
    c.FeedGap: st.builds(c.FeedGap, _names, _texts, st.integers(0, 99), st.integers(99, 2**62), _times, _texts),
    c.FeedStatus: st.builds(
        c.FeedStatus, _names, _texts, st.sampled_from(c.FEED_STATES), _times, _texts, st.sampled_from(c.FEED_CHANNELS)
    ),
    c.ClockTick: st.builds(c.ClockTick, _times),
    c.OHLCVBar: _bar(),
    c.OrderIntent: st.builds(
        c.OrderIntent, strategy_id=_names, intent_id=_texts, ts_local_ns=_times, meta=_meta, **_order
    ),
    c.RiskDecision: _decisions,
    c.RiskState: st.builds(c.RiskState, st.sampled_from(c.TradingState), _texts, _times, _meta),
    c.OrderEvent: st.builds(
        c.OrderEvent,
        intent_id=_names,
        venue=_texts,
        ts_accepted_ns=_times,
        order_id=_texts,
        strategy_id=_texts,
        decision=st.none() | _decisions,
        meta=_meta,
        **_order,
    ),
    c.OrderCancel: st.builds(c.OrderCancel, _names, _texts, _texts, _times, _texts),
    c.OrderUpdate: st.builds(
        c.OrderUpdate,
        order_id=_names,
        intent_id=_texts,
        strategy_id=_texts,
        venue=_texts,
        status=st.sampled_from(c.ORDER_STATUSES),
        filled_qty=_above_zero,
        avg_price=_above_zero,
        ts_updated_ns=_times,
        reason=_texts,
        **_order,
    ),
    c.FillEvent: st.builds(
        c.FillEvent,
        _names,
        _names,
        _sides,
        _above_zero,
        _above_zero,
        _money,
        _times,
        _texts,
        _texts,
        _texts,
        _texts,
        st.sampled_from(c.LIQUIDITIES),
        _texts,
        _meta,
    ),
    c.PositionSnapshot: st.builds(
        c.PositionSnapshot, _names, _money, _above_zero, _money, _times, _texts, _money, _money, _above_zero
    ),
}

# fmt: off
SAMPLES: Final[tuple[c.Contract, ...]] = (
    c.TradeEvent("BTC/USDT", 60_000.5, 0.01, "buy", 1_700_000_000_000_000_000, "17", "v", 1_700_000_000_000_000_001),
    c.BookEvent("BTC/USDT", ((99.0, 1.0), (98.0, 2.0)), ((100.0, 1.0),), 7, 5, 3, "v", 6),
    c.BboEvent("BTC/USDT", 99.0, 1.5, 100.0, 2.0, 3, 5, "v", 6),
    c.TickerEvent("BTC/USDT", 100.0, 99.0, 101.0, 12.5, 5, "v", 6),
    c.FeedGap("BTC/USDT", "v", 3, 5, 9, "reconnect"),
    c.FeedStatus("BTC/USDT", "v", "stale", 9, "silent"),
    c.ClockTick(1_000_000_000),
    c.OHLCVBar("BTC/USDT", "1m", 0, 60, 1.0, 3.0, 0.5, 2.0, 10.0, 4, True),
    c.OrderIntent("s1", "BTC/USDT", "buy", "limit", 0.5, 100.0, "i-1", 5, {"tag": ["a", 1]}),
    c.RiskDecision(
        "i-1", False, "PER_ORDER_CAP: notional=2.00 cap=1.00", {"per_order_usd_cap": 1.0}, "d-1",
        c.DenialCode.PER_ORDER_CAP, "s1", "BTC/USDT", 5, {"notional": 2.0},
    ),
    c.RiskState(c.TradingState.HALTED, "halted", 5, {"day": 1}),
    c.OrderEvent(
        "i-1", "paper", "BTC/USDT", "buy", "market", 0.5, 5, None, "o-1", "s1",
        c.RiskDecision("i-1", True, "", {"per_order_usd_cap": 1.0}), {"slice": 1},
    ),
    c.OrderCancel("o-1", "BTC/USDT", "s1", 5, "late"),
    c.OrderUpdate("o-1", "i-1", "s1", "paper", "BTC/USDT", "buy", "market", 0.5, None, "filled", 0.5, 100.0, 6, ""),
    c.FillEvent("o-1", "BTC/USDT", "buy", 0.5, 100.0, 0.05, 6, "f-1", "i-1", "s1", "paper", "maker", "17", {}),
    c.PositionSnapshot("BTC/USDT", -0.5, 100.0, 1.5, 6, "s1", 0.5, 0.05, 99.0),
)
# fmt: on
SAMPLE_OF: Final[Mapping[type[c.Contract], Any]] = {type(sample): sample for sample in SAMPLES}
