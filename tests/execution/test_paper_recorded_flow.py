"""The paper venue over minutes of real trades: the books agree, no volume is used twice, twice gives the same."""

from __future__ import annotations

import gzip
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import msgspec
import pytest

from core import codec
from core.contracts import Contract, FillEvent, Side, TradeEvent
from core.instruments import Instrument, Instruments
from execution import PaperVenue
from tests.support.paper_orders import fills, order

BTC = Instrument("BTC/USDT", Decimal("0.01"), Decimal("0.00001"))
PARTICIPATION = 0.2


@pytest.fixture(scope="module")
def recorded_trades(recorded_data: Path) -> list[TradeEvent]:
    """The first 3,000 trades of the BTCUSDT capture."""
    trades: list[TradeEvent] = []
    with gzip.open(recorded_data / "binance_spot_btcusdt_20240808.raw.gz") as lines:
        for line in lines:
            if b'"e":"trade"' not in line:
                continue
            raw = msgspec.json.decode(line.partition(b" ")[2])["data"]
            side: Side = "sell" if raw["m"] else "buy"  # m: the buyer was the maker
            trades.append(
                TradeEvent("BTC/USDT", float(raw["p"]), float(raw["q"]), side, raw["T"] * 1_000_000, str(raw["t"]))
            )
            if len(trades) == 3_000:
                return trades
    return trades


def session(trades: list[TradeEvent], model: str) -> tuple[PaperVenue, list[Contract]]:
    """Every fifty trades an order, in turn: to market and a little inside or outside of it, both sides."""
    parameters = {"participation": PARTICIPATION} if model == "trade_flow" else {}
    paper = PaperVenue(Instruments([BTC]), model, parameters, starting_cash={"USDT": 1_000_000.0})
    answers: list[Contract] = []
    for step, event in enumerate(trades):
        answers += paper.on_event(event)
        if step % 50 == 0:
            turn = step // 50
            side: Side = "sell" if turn % 2 else "buy"
            offset = (None, -5.0, 0.0, 3.0)[turn // 2 % 4]
            limit = None if offset is None else BTC.round_price(event.price + (offset if side == "buy" else -offset))
            answers += paper.on_event(order(side, 0.05 + turn / 1000, limit, event.ts, str(step)))
    return paper, answers


@pytest.mark.parametrize("model", ["last_trade", "trade_flow"])
def test_positions_are_the_sum_of_fills_and_cash_moves_with_them(recorded_trades: list[TradeEvent], model: str) -> None:
    paper, answers = session(recorded_trades, model)

    lots, cash = 0, Fraction(1_000_000)
    for fill in fills(answers):
        sign = 1 if fill.side == "buy" else -1
        lots += sign * BTC.lots(fill.qty)
        notional = Fraction(BTC.lots(fill.qty) * BTC.ticks(fill.price)) * Fraction(BTC.money_unit)
        cash -= sign * notional + Fraction(round(fill.fee * 10**8), 10**8)
    assert len(fills(answers)) > 30
    assert paper.position("BTC/USDT").lots == lots
    account = paper.account()
    assert account.cash == float(cash)
    assert account.equity == pytest.approx(
        1_000_000 + account.realized_pnl + account.unrealized_pnl - account.fees_paid, abs=1e-7
    )


def test_no_fill_takes_more_than_its_share_of_the_trade_it_names(recorded_trades: list[TradeEvent]) -> None:
    _, answers = session(recorded_trades, "trade_flow")
    carried = {event.trade_id: event for event in recorded_trades}

    used: Counter[str] = Counter()
    for fill in fills(answers):
        used[fill.trade_id] += BTC.lots(fill.qty)
        assert fill.ts_fill_ns == carried[fill.trade_id].ts
        assert (fill.liquidity == "taker") == (fill.side == carried[fill.trade_id].side)
    assert all(taken <= BTC.lots(carried[trade_id].qty) * PARTICIPATION for trade_id, taken in used.items())


@pytest.mark.parametrize("model", ["last_trade", "trade_flow"])
def test_the_same_session_gives_the_same_bytes(recorded_trades: list[TradeEvent], model: str) -> None:
    first, second = (
        [codec.encode(answer) for answer in session(recorded_trades, model)[1] if isinstance(answer, FillEvent)]
        for _ in range(2)
    )

    assert first == second
