"""Any sequence of fills keeps the books: the ledger against an oracle in fractions that shares nothing with it."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.contracts import FillEvent, Side
from core.instruments import Instrument, Instruments
from core.position_ledger import Method, PositionLedger

COARSE = Instrument("AAA/USDT", Decimal("0.5"), Decimal("0.1"))
FINE = Instrument("BBB/USDT", Decimal("0.0001"), Decimal("0.00001"))
INSTRUMENTS = Instruments([COARSE, FINE])

sides = st.sampled_from(["buy", "sell"])
symbols = st.sampled_from(["AAA/USDT", "BBB/USDT"])
lots_ = st.integers(1, 60)
ticks_ = st.integers(1, 500)
fees_ = st.integers(-500, 5_000)  # hundred-millionths of quote currency


class Oracle:
    """Unit by unit: every single lot is an entry of its own, every number a fraction of quote currency."""

    def __init__(self, method: Method, instrument: Instrument) -> None:
        self.method = method
        self.tick, self.lot = Fraction(instrument.tick_size), Fraction(instrument.lot_size)
        self.entries: list[Fraction] = []  # what each open lot cost
        self.sign = 0
        self.qty = self.realized = self.cash = self.fees = Fraction(0)

    def fill(self, side: str, lots: int, ticks: int, fee: int) -> None:
        sign = 1 if side == "buy" else -1
        worth = ticks * self.tick * self.lot
        for _ in range(lots):
            if self.entries and self.sign != sign:
                self.realized += self.sign * (worth - self._leave())
            else:
                self.sign = sign
                self.entries.append(worth)
        self.qty += sign * lots * self.lot
        paid = Fraction(fee, 100_000_000)
        self.fees += paid
        self.cash -= sign * lots * worth + paid

    def _leave(self) -> Fraction:
        if self.method == "fifo":
            return self.entries.pop(0)
        average = sum(self.entries, Fraction(0)) / len(self.entries)
        self.entries = [average] * (len(self.entries) - 1)
        return average


class LedgerMachine(RuleBasedStateMachine):
    """Fills of any size and price, snapshots taken and loaded in between."""

    method: ClassVar[Method]

    def __init__(self) -> None:
        super().__init__()
        self.ledger = PositionLedger(INSTRUMENTS, self.method)
        self.oracles = {symbol: Oracle(self.method, INSTRUMENTS[symbol]) for symbol in INSTRUMENTS}
        self.releases = dict.fromkeys(INSTRUMENTS, 0)
        self.marks: list[int] = [1]

    @rule(symbol=symbols, side=sides, lots=lots_, ticks=ticks_, fee=fees_)
    def fills(self, symbol: str, side: Side, lots: int, ticks: int, fee: int) -> None:
        self._fill(symbol, side, lots, ticks, fee)

    @precondition(lambda self: any(o.qty for o in self.oracles.values()))
    @rule(ticks=ticks_, fee=fees_)
    def closes_everything(self, ticks: int, fee: int) -> None:
        for symbol, position in self.ledger.positions().items():
            if position.lots:
                self._fill(symbol, "sell" if position.lots > 0 else "buy", abs(position.lots), ticks, fee)
                closed = self.ledger.position(symbol)
                assert closed.is_flat
                assert (closed.qty, closed.open_cost, closed.open_lots, closed.avg_price) == (0.0, 0, (), 0.0)
                assert closed.unrealized_units(ticks) == 0

    @precondition(lambda self: any(o.qty for o in self.oracles.values()))
    @rule(extra=lots_, ticks=ticks_)
    def reverses(self, extra: int, ticks: int) -> None:
        for symbol, position in self.ledger.positions().items():
            if position.lots:
                side: Side = "sell" if position.lots > 0 else "buy"
                self._fill(symbol, side, abs(position.lots) + extra, ticks, 0)
                reversed_ = self.ledger.position(symbol)
                assert reversed_.lots == (-extra if side == "sell" else extra)
                assert reversed_.open_cost == extra * ticks

    @rule()
    def restarts_from_a_snapshot(self) -> None:
        fresh = PositionLedger(INSTRUMENTS, self.method)
        fresh.load(self.ledger.snapshot())
        assert fresh.snapshot() == self.ledger.snapshot()
        self.ledger = fresh

    def _fill(self, symbol: str, side: Side, lots: int, ticks: int, fee: int) -> None:
        instrument = INSTRUMENTS[symbol]
        before = self.ledger.position(symbol).lots
        event = FillEvent("o", symbol, side, instrument.qty(lots), instrument.price(ticks), fee / 1e8, 1)
        self.ledger.apply(event)
        self.oracles[symbol].fill(side, lots, ticks, fee)
        if before * (1 if side == "buy" else -1) < 0:
            self.releases[symbol] += 1
        self.marks = [1, ticks, ticks + 7]

    @invariant()
    def quantity_is_the_sum_of_fills(self) -> None:
        for symbol, oracle in self.oracles.items():
            assert self.ledger.position(symbol).lots * oracle.lot == oracle.qty

    @invariant()
    def cash_is_what_fills_and_fees_moved(self) -> None:
        for symbol, oracle in self.oracles.items():
            position = self.ledger.position(symbol)
            assert Fraction(position.cash_exact) == oracle.cash
            assert position.cash == float(oracle.cash)
            assert position.fees_paid == float(oracle.fees)

    @invariant()
    def profit_is_cash_and_position_value_at_any_mark(self) -> None:
        for symbol in self.oracles:
            position = self.ledger.position(symbol)
            for mark in self.marks:
                assert position.realized + position.unrealized_units(mark) == (
                    position.traded + position.value_units(mark)
                )

    @invariant()
    def realized_profit_and_cost_agree_with_the_oracle(self) -> None:
        for symbol, oracle in self.oracles.items():
            position = self.ledger.position(symbol)
            unit = oracle.tick * oracle.lot
            off = abs(position.realized * unit - oracle.realized)
            # FIFO is exact. Average cost may keep back less than one money unit per closing fill.
            assert off == 0 if self.method == "fifo" else off <= self.releases[symbol] * unit
            cost_off = abs(position.open_cost * unit - sum(oracle.entries, Fraction(0)))
            assert cost_off == 0 if self.method == "fifo" else cost_off <= self.releases[symbol] * unit

    @invariant()
    def open_lots_add_up(self) -> None:
        if self.method == "average":
            return
        for symbol in self.oracles:
            position = self.ledger.position(symbol)
            assert sum(lot.lots for lot in position.open_lots) == abs(position.lots)
            assert sum(lot.lots * lot.ticks for lot in position.open_lots) == position.open_cost


class FifoMachine(LedgerMachine):
    method = "fifo"


class AverageMachine(LedgerMachine):
    method = "average"


TestFifoLedger = FifoMachine.TestCase
TestFifoLedger.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestAverageLedger = AverageMachine.TestCase
TestAverageLedger.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
