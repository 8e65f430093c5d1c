"""The whole fleet in one process over the recorded captures, against what json, pandas and decimals make of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from apps.fleet.session import Session, fingerprint
from apps.md_ingest.source import open_offline
from core.config import Config
from tests.support import captures
from tests.support.fleet_config import busy_installation, config_in
from tests.support.invariants import assert_hold, journal

STARTING_CASH = Decimal(100_000)


@dataclass(frozen=True)
class Run:
    """A finished embedded session and what it was fed."""

    captures: dict[str, Path]
    folder: Path
    session: Session

    def journal(self, stream: str, symbol: str) -> list[dict[str, Any]]:
        return journal(self.folder / "journals", f"{stream}.{symbol.replace('/', '')}")


def run(feed: dict[str, Path], config: Config) -> Session:
    session = Session(config, open_offline(captures.feed_of(feed), config), durable=False)
    asyncio.run(session.run())
    return session


@pytest.fixture(scope="module")
def full(recorded_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Both captures to their ends, with strategies that trade every few seconds."""
    root = tmp_path_factory.mktemp("recorded")
    feed = captures.recorded(recorded_data)
    session = run(feed, config_in(root / "run", busy_installation(root)))
    return Run(feed, root / "run", session)


@pytest.mark.full
@pytest.mark.parametrize("symbol", captures.SYMBOLS)
def test_every_trade_of_the_capture_is_journaled_once_and_in_order(full: Run, symbol: str) -> None:
    expected = captures.trades_of(full.captures[symbol])

    got = [
        captures.RawTrade(line["trade_id"], line["price"], line["qty"], line["side"], line["ts"])
        for line in full.journal("md.trades", symbol)
    ]

    assert len(expected) == {"BTC/USDT": 9_757, "ETH/USDT": 6_106}[symbol]
    assert got == expected


@pytest.mark.full
@pytest.mark.parametrize("symbol", captures.SYMBOLS)
@pytest.mark.parametrize(("timeframe", "rule"), [("1m", "1min"), ("5m", "5min"), ("15m", "15min"), ("1h", "1h")])
def test_bars_equal_a_resampling_of_the_raw_trades(full: Run, symbol: str, timeframe: str, rule: str) -> None:
    trades = captures.trades_of(full.captures[symbol])
    table = pd.DataFrame(
        {"price": [float(t.price) for t in trades], "qty": [float(t.qty) for t in trades]},
        index=pd.to_datetime([t.ts_ns for t in trades], utc=True),
    )
    windows = table.resample(rule, label="left", closed="left")
    expected = windows["price"].ohlc().assign(volume=windows["qty"].sum(), trades=windows["price"].count())
    # What is still open when the capture ends is not published.
    ends = expected.index.to_series() + pd.Timedelta(rule)
    expected = expected[ends <= table.index[-1]]

    bars = full.journal(f"ohlcv.{timeframe}", symbol)

    assert len(bars) == len(expected) > 0
    for bar, (start, row) in zip(bars, expected.iterrows(), strict=True):
        assert bar["ts_open"] == pd.Timestamp(str(start)).value
        assert [float(bar[name]) for name in ("open", "high", "low", "close")] == [
            row["open"], row["high"], row["low"], row["close"],
        ]  # fmt: skip
        assert bar["trades"] == row["trades"]
        assert float(bar["volume"]) == pytest.approx(row["volume"], rel=1e-12)
    assert [bar["partial"] for bar in bars] == [True] + [False] * (len(bars) - 1)


@pytest.mark.full
def test_positions_and_cash_are_what_the_fills_add_up_to(full: Run) -> None:
    held: defaultdict[str, Decimal] = defaultdict(Decimal)
    cash = STARTING_CASH
    fills = [fill for symbol in captures.SYMBOLS for fill in full.journal("fills", symbol)]
    for fill in fills:
        sign = 1 if fill["side"] == "buy" else -1
        held[fill["symbol"]] += sign * fill["qty"]
        cash -= sign * fill["qty"] * fill["price"] + fill["fee"]

    assert len(fills) > 1_000
    for symbol in captures.SYMBOLS:
        assert Decimal(repr(full.session.venue.position(symbol).qty)) == held[symbol]
        assert full.journal("positions", symbol)[-1]["qty"] == held[symbol]
        assert full.session.risk.position(symbol).qty == full.session.venue.position(symbol).qty
    assert Decimal(repr(full.session.venue.account().cash)) == pytest.approx(cash, abs=Decimal("1e-8"))


@pytest.mark.full
def test_every_fee_is_a_tenth_of_a_percent_of_its_notional_to_the_step_of_fees(full: Run) -> None:
    for symbol in captures.SYMBOLS:
        for fill in full.journal("fills", symbol):
            assert abs(fill["fee"] - fill["qty"] * fill["price"] / 1000) <= Decimal("0.5e-8")


@pytest.mark.full
def test_fills_happen_at_trades_of_the_capture_and_share_no_more_than_was_traded(full: Run) -> None:
    for symbol in captures.SYMBOLS:
        trades = {trade.trade_id: trade for trade in captures.trades_of(full.captures[symbol])}
        taken: defaultdict[str, Decimal] = defaultdict(Decimal)
        for fill in full.journal("fills", symbol):
            assert fill["ts_fill_ns"] == trades[fill["trade_id"]].ts_ns
            taken[fill["trade_id"]] += fill["qty"]
        assert [each for each, qty in taken.items() if qty > trades[each].qty] == []


@pytest.mark.full
def test_the_invariants_hold_over_a_whole_session(full: Run) -> None:
    decisions = journal(full.folder / "journals", "risk.decisions")

    assert_hold(full.folder)
    assert {decision["allowed"] for decision in decisions} == {True, False}


@pytest.mark.full
@pytest.mark.parametrize("symbol", captures.SYMBOLS)
def test_every_journaled_book_is_the_one_that_its_updates_make(full: Run, symbol: str) -> None:
    journaled = iter(full.journal("md.book", symbol))
    seen = 0

    for last_id, book in captures.books_of(full.captures[symbol]):
        line = next(journaled)
        assert line["last_id"] == last_id
        if seen % 7 == 0:  # sorting a thousand levels for each would take a minute
            assert (_levels(line["bids"]), _levels(line["asks"])) == book.top()
        seen += 1

    assert next(journaled, None) is None
    assert seen > 3_000


def _levels(levels: list[list[Any]]) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(price), Decimal(qty)) for price, qty in levels]


@pytest.mark.full
def test_a_second_run_writes_the_same_bytes(full: Run, tmp_path: Path) -> None:
    run(full.captures, config_in(tmp_path / "again", busy_installation(tmp_path)))

    assert fingerprint(tmp_path / "again") == fingerprint(full.folder)


@pytest.mark.full
def test_lost_book_updates_are_noticed_and_a_new_snapshot_brings_the_book_back(
    recorded_data: Path, tmp_path: Path
) -> None:
    feed = captures.shortened(captures.recorded(recorded_data), tmp_path, 30)
    whole = feed["BTC/USDT"]
    feed["BTC/USDT"] = tmp_path / "torn.raw.gz"
    cut = captures.with_a_break(whole, feed["BTC/USDT"], range(100, 103), healed_at=120)

    run(feed, config_in(tmp_path / "run", busy_installation(tmp_path)))

    journals = tmp_path / "run" / "journals"
    assert_hold(tmp_path / "run")
    books = [line["last_id"] for line in journal(journals, "md.book.BTCUSDT")]
    stops, comes_back = books.index(cut.before), books.index(cut.resynchronised)
    assert comes_back == stops + 1
    intact = [last_id for last_id, _ in captures.books_of(whole)]
    assert books[: stops + 1] == intact[: intact.index(cut.before) + 1]
    assert books[comes_back:] == intact[intact.index(cut.resynchronised) :]
    states = [(s["state"], s["channel"]) for s in journal(journals, "md.status.BTCUSDT")]
    assert states == [("stale", "book"), ("live", "book"), ("ended", "trades")]
    trades = [line["trade_id"] for line in journal(journals, "md.trades.BTCUSDT")]
    assert trades == [trade.trade_id for trade in captures.trades_of(whole)]
