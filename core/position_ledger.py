"""The one position ledger: what fills add up to, for the risk engine, the paper venue, portfolio and backtester.

Inside everything is an integer: lots, ticks, money in ``Instrument.money_unit`` (one lot times one tick) and
fees in ``FEE_UNIT``, so that a flat position is exactly flat and realised + unrealised - fees is exactly cash
+ position value. Floats exist only at the border: fills come in as floats, a ``Position`` shows floats.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any, Final, Literal, NamedTuple, get_args

from core.contracts import FillEvent
from core.contracts.fast_init import quickly_built
from core.errors import ConfigError
from core.instruments import Instrument, Instruments

Method = Literal["fifo", "average"]

FEE_UNIT: Final = Decimal("1E-8")  # of quote currency: the step in which fees are counted
FEE_UNITS: Final = 100_000_000  # of them in one of quote currency
_SURE: Final = 1e7  # fees up to here have fewer than 10^15 units


def to_fee_units(amount: Decimal) -> int:
    """A fee in quote currency as an integer of ``FEE_UNIT``, halves rounded away from zero."""
    return int((amount / FEE_UNIT).to_integral_value(ROUND_HALF_UP))


def fee_units(fee: float) -> int:
    """The fee of a fill in ``FEE_UNIT``: exact for every fee made of fewer than 10^15 of them."""
    near = round(fee * FEE_UNITS) if -_SURE < fee < _SURE else 0
    if near and near / FEE_UNITS == fee:  # up to 15 digits a float stands for one decimal only
        return near
    return to_fee_units(Decimal(repr(float(fee))))


def fee_of_units(units: int) -> float:
    """An integer of ``FEE_UNIT`` as quote currency, the float nearest to the exact decimal."""
    return units / FEE_UNITS


class OpenLot(NamedTuple):
    """``lots`` (unsigned) that were opened at ``ticks`` and are not closed yet."""

    ticks: int
    lots: int


@quickly_built
@dataclass(frozen=True, slots=True)
class Position:
    """A position as it stood after a fill: a value, it does not change with later fills.

    The fields are exact integers: ``lots`` signed (short below 0), ``open_cost``, ``realized`` and
    ``traded`` (cash moved by trades alone) in money units, ``fees`` in ``FEE_UNIT``. The properties are
    the same numbers as floats in base (``qty``) and quote currency. ``open_lots`` is oldest first, and
    empty under the average method, which keeps one pool.
    """

    instrument: Instrument
    lots: int = 0
    open_cost: int = 0
    realized: int = 0
    traded: int = 0
    fees: int = 0
    open_lots: tuple[OpenLot, ...] = ()

    @property
    def symbol(self) -> str:
        """The instrument's symbol."""
        return self.instrument.symbol

    @property
    def is_flat(self) -> bool:
        """True when nothing is held, long or short."""
        return self.lots == 0

    @property
    def qty(self) -> float:
        """Signed quantity in base currency."""
        return self.instrument.qty(self.lots)

    @property
    def avg_price(self) -> float:
        """Average price of what is open, 0.0 when flat."""
        if not self.lots:
            return 0.0
        ticks, rest = divmod(self.open_cost, abs(self.lots))
        if not rest:
            return self.instrument.price(ticks)
        return float(Fraction(self.instrument.tick_size) * self.open_cost / abs(self.lots))

    @property
    def realized_pnl(self) -> float:
        """Profit and loss of what was closed, in quote currency, before fees."""
        return self.instrument.money(self.realized)

    @property
    def fees_paid(self) -> float:
        """Fees of all fills in quote currency; negative when rebates exceeded them."""
        return fee_of_units(self.fees)

    @property
    def cash_exact(self) -> Decimal:
        """Quote currency received less quote currency paid, fees included, exactly."""
        return self.traded * self.instrument.money_unit - self.fees * FEE_UNIT

    @property
    def cash(self) -> float:
        """Quote currency received less quote currency paid, fees included."""
        above, below = self.instrument.money_ratio
        return (self.traded * above * FEE_UNITS - self.fees * below) / (below * FEE_UNITS)

    def value_units(self, ticks: int) -> int:
        """The value of the position at a price in ticks, in money units; negative when short."""
        return self.lots * ticks

    def unrealized_units(self, ticks: int) -> int:
        """Profit and loss of what is open at a price in ticks, in money units."""
        return self.value_units(ticks) - (self.open_cost if self.lots > 0 else -self.open_cost)

    def notional_exact(self, price: float) -> Decimal:
        """The signed value of the position at any price, in quote currency, exactly."""
        return self.lots * self.instrument.lot_size * Decimal(repr(float(price)))

    def notional(self, price: float) -> float:
        """The signed value of the position at a price, in quote currency."""
        return float(self.notional_exact(price))

    def unrealized_pnl(self, price: float) -> float:
        """Profit and loss of what is open if it were closed at ``price``, in quote currency, before fees.

        The price need not lie on the grid: marks and mid prices do not.
        """
        ticks = self.instrument.ticks_of(price)
        if ticks is not None:
            return self.instrument.money(self.unrealized_units(ticks))
        cost = self.open_cost if self.lots > 0 else -self.open_cost
        return float(self.notional_exact(price) - cost * self.instrument.money_unit)


class PositionLedger:
    """Positions by symbol as the sum of fills. It takes every fill it is given: duplicates are the caller's to drop.

    ``fifo`` closes the oldest open lots first. ``average`` closes at the average cost of the pool, rounded
    down to the money unit; the remainder stays in the cost of what is still open, so nothing is lost.
    A fill larger than the position it closes reverses it: the rest opens at the fill's price.
    """

    def __init__(self, instruments: Instruments, method: Method = "fifo") -> None:
        if method not in get_args(Method):
            raise ConfigError(f"position ledger method: expected one of {', '.join(get_args(Method))}, got {method!r}")
        self._instruments = instruments
        self._method: Method = method
        self._accounts: dict[str, _Account] = {}

    @property
    def method(self) -> Method:
        """The method by which cost leaves a position: ``fifo`` or ``average``."""
        return self._method

    def apply(self, fill: FillEvent) -> Position:
        """Book one fill and return the position after it.

        Raises:
            UnknownSymbolError: no instrument of that symbol.
            ContractError: price or quantity off the instrument's grid. Nothing is booked.
        """
        instrument = self._instruments[fill.symbol]
        lots, ticks = instrument.lots(fill.qty), instrument.ticks(fill.price)
        account = self._account(instrument)
        account.book(lots if fill.side == "buy" else -lots, ticks, fee_units(fill.fee))
        return account.position()

    def position(self, symbol: str) -> Position:
        """The position in a symbol, flat if it never traded. Raises UnknownSymbolError."""
        account = self._accounts.get(symbol)
        return Position(self._instruments[symbol]) if account is None else account.position()

    def positions(self) -> Mapping[str, Position]:
        """The positions of every symbol that ever traded, flat ones included, sorted by symbol."""
        return {symbol: self._accounts[symbol].position() for symbol in sorted(self._accounts)}

    def snapshot(self) -> dict[str, Any]:
        """The whole ledger as plain JSON values, equal for equal ledgers."""
        return {
            "method": self._method,
            "positions": {symbol: self._accounts[symbol].to_plain() for symbol in sorted(self._accounts)},
        }

    def load(self, snapshot: Mapping[str, Any]) -> None:
        """Become the ledger that ``snapshot`` describes; what was booked here before is dropped.

        Raises:
            UnknownSymbolError: a symbol of the snapshot is no longer configured.
            ConfigError: the snapshot was taken under another method, tick or lot size.
        """
        if snapshot["method"] != self._method:
            raise ConfigError(
                f"position ledger: expected a snapshot by method {self._method}, got {snapshot['method']}; "
                f"configure {snapshot['method']}, or drop the snapshot and fold the fills again"
            )
        accounts: dict[str, _Account] = {}
        for symbol, saved in snapshot["positions"].items():
            account = _ACCOUNTS[self._method](self._instruments[symbol])
            account.load(saved)
            accounts[symbol] = account
        self._accounts = accounts

    def _account(self, instrument: Instrument) -> _Account:
        account = self._accounts.get(instrument.symbol)
        if account is None:
            account = self._accounts[instrument.symbol] = _ACCOUNTS[self._method](instrument)
        return account


class _Account:
    """One symbol's books in integers. Subclasses say which cost leaves when a position shrinks."""

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._lots = 0
        self._cost = 0  # of what is open, unsigned, money units
        self._realized = 0
        self._traded = 0
        self._fees = 0
        self._shown: Position | None = None

    def book(self, signed_lots: int, ticks: int, fee: int) -> None:
        """Close against an opposite position first, open with what is left."""
        direction, lots = (1, signed_lots) if signed_lots > 0 else (-1, -signed_lots)
        closing = min(lots, abs(self._lots)) if signed_lots * self._lots < 0 else 0
        opening = lots - closing
        if closing:
            cost = self._release(closing)
            self._cost -= cost
            # Closing with a buy means the position was short: it earned what it now costs less.
            self._realized += direction * (cost - closing * ticks)
        if opening:
            self._cost += opening * ticks
            self._open(ticks, opening)
        self._lots += signed_lots
        self._traded -= signed_lots * ticks
        self._fees += fee
        self._shown = None

    def position(self) -> Position:
        if self._shown is None:
            self._shown = Position(
                self._instrument, self._lots, self._cost, self._realized, self._traded, self._fees, self._open_lots()
            )
        return self._shown

    def to_plain(self) -> dict[str, Any]:
        return {
            "tick_size": str(self._instrument.tick_size),
            "lot_size": str(self._instrument.lot_size),
            "lots": self._lots,
            "open_cost": self._cost,
            "realized": self._realized,
            "traded": self._traded,
            "fees": self._fees,
            "open_lots": [[lot.ticks, lot.lots] for lot in self._open_lots()],
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        for name in ("tick_size", "lot_size"):
            configured: Decimal = getattr(self._instrument, name)
            if Decimal(saved[name]) != configured:
                raise ConfigError(
                    f"position ledger: {name} of {self._instrument.symbol}: expected {saved[name]}, under which the "
                    f"snapshot was taken, got {configured}; set it back, or drop the snapshot and fold the fills again"
                )
        self._lots, self._cost = saved["lots"], saved["open_cost"]
        self._realized, self._traded, self._fees = saved["realized"], saved["traded"], saved["fees"]
        for ticks, lots in saved["open_lots"]:
            self._open(ticks, lots)
        self._shown = None

    def _open(self, ticks: int, lots: int) -> None:
        """Remember that lots were opened at a price."""

    def _open_lots(self) -> tuple[OpenLot, ...]:
        return ()

    def _release(self, lots: int) -> int:
        """The cost, in money units, that leaves with ``lots`` of the open position."""
        raise NotImplementedError


class _FifoAccount(_Account):
    """The oldest lots leave first, at what they cost."""

    def __init__(self, instrument: Instrument) -> None:
        super().__init__(instrument)
        self._queue: deque[OpenLot] = deque()

    def _open(self, ticks: int, lots: int) -> None:
        # Neighbours at one price are one lot: closing them in turn or at once costs the same.
        if self._queue and self._queue[-1].ticks == ticks:
            lots += self._queue.pop().lots
        self._queue.append(OpenLot(ticks, lots))

    def _open_lots(self) -> tuple[OpenLot, ...]:
        return tuple(self._queue)

    def _release(self, lots: int) -> int:
        cost = 0
        while lots:
            oldest = self._queue.popleft()
            taken = min(lots, oldest.lots)
            cost += taken * oldest.ticks
            lots -= taken
            if taken < oldest.lots:
                self._queue.appendleft(OpenLot(oldest.ticks, oldest.lots - taken))
        return cost


class _AverageAccount(_Account):
    """Lots leave at the pool's average cost, rounded down; the remainder stays with what is open."""

    def _release(self, lots: int) -> int:
        return self._cost * lots // abs(self._lots)


_ACCOUNTS: Final[Mapping[str, type[_Account]]] = {"fifo": _FifoAccount, "average": _AverageAccount}
