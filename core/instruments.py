"""Instruments: what can be traded and in which steps, ticks of price and lots of quantity, both exact integers inside.

A price is ``ticks * tick_size``, a quantity ``lots * lot_size``. Conversions refuse what does not lie on
the grid instead of rounding it silently; rounding is always a named choice of the caller.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from functools import cached_property
from typing import Final

from core.errors import ContractError, UnknownSymbolError

# BASE/QUOTE, and of derivatives :SETTLEMENT with -EXPIRY, -STRIKE and so on behind it.
_SYMBOL: Final = re.compile(r"[^/:\s]+/(?P<quote>[^/:\s]+)(:(?P<settlement>[^/:\s-]+)(-[^/:\s]+)?)?")
_SURE: Final = 1e15
_GRID_SLACK: Final = 1e-6  # of one step: what float arithmetic may have added to a number on the grid


@dataclass(frozen=True)
class Instrument:
    """A tradable pair. Sizes in quote currency (``tick_size``, ``min_notional``) or base (``lot_size``).

    Fees are fractions of the notional: 0.001 is 10 basis points. The symbol is BASE/QUOTE, of a derivative
    BASE/QUOTE:SETTLEMENT, where the settlement is the quote currency: a linear contract's money is that of spot.

    Raises:
        ContractError: a symbol of another form, a contract settled in another currency than its quote, a step that is
            not above 0, a minimum below 0, or a number that is not finite.
    """

    symbol: str
    tick_size: Decimal
    lot_size: Decimal
    min_notional: Decimal = Decimal(0)
    maker_fee: Decimal = Decimal("0.001")
    taker_fee: Decimal = Decimal("0.001")

    def __post_init__(self) -> None:
        match = _SYMBOL.fullmatch(self.symbol)
        if match is None:
            raise ContractError(
                f"Instrument.symbol: expected BASE/QUOTE such as BTC/USDT, or BASE/QUOTE:SETTLEMENT such as "
                f"BTC/USDT:USDT, got {self.symbol!r}"
            )
        if match["settlement"] not in (None, match["quote"]):
            raise ContractError(
                f"Instrument.symbol: expected a contract that settles in its quote currency {match['quote']}, got "
                f"{self.symbol!r}, which settles in {match['settlement']}: its profit is not quantity times price"
            )
        for name in ("tick_size", "lot_size"):
            value: Decimal = getattr(self, name)
            if not value.is_finite() or value <= 0:
                raise ContractError(f"Instrument.{name} of {self.symbol}: expected a number above 0, got {value}")
        for name in ("min_notional", "maker_fee", "taker_fee"):
            value = getattr(self, name)
            if not value.is_finite() or (value < 0 and name == "min_notional"):
                raise ContractError(f"Instrument.{name} of {self.symbol}: expected a finite number, got {value}")

    @property
    def base(self) -> str:
        """The currency that is bought and sold."""
        return self.symbol.split("/")[0]

    @property
    def quote(self) -> str:
        """The currency that prices, profit and cash are in: USDT for BTC/USDT and for BTC/USDT:USDT."""
        return self.symbol.split("/")[1].partition(":")[0]

    @cached_property
    def _tick(self) -> float:
        return float(self.tick_size)

    @cached_property
    def _lot(self) -> float:
        return float(self.lot_size)

    @cached_property
    def _tick_ratio(self) -> tuple[int, int]:
        return self.tick_size.as_integer_ratio()

    @cached_property
    def _lot_ratio(self) -> tuple[int, int]:
        return self.lot_size.as_integer_ratio()

    @cached_property
    def money_ratio(self) -> tuple[int, int]:
        """``money_unit`` as an exact fraction."""
        return self.money_unit.as_integer_ratio()

    @cached_property
    def money_unit(self) -> Decimal:
        """The value in quote currency of one lot times one tick: the smallest step of cash."""
        return self.tick_size * self.lot_size

    def ticks(self, price: float) -> int:
        """The price in ticks. Raises ContractError off the grid."""
        steps = price / self._tick
        nearest = round(steps)
        if nearest == steps and (nearest or not price):
            return nearest
        return _on_grid(steps, "price", price, self.tick_size, self.symbol)

    def ticks_of(self, price: float) -> int | None:
        """The ticks of a price that is exactly one of the grid's floats, else None."""
        above, below = self._tick_ratio
        steps = price / self._tick
        if not -_SURE < steps * above < _SURE:
            return None  # beyond 15 digits a float stands for more than one decimal
        nearest = round(steps)
        return nearest if nearest * above / below == price else None

    def lots(self, qty: float) -> int:
        """The quantity in lots. Raises ContractError off the grid."""
        steps = qty / self._lot
        nearest = round(steps)
        if nearest == steps and (nearest or not qty):
            return nearest
        return _on_grid(steps, "quantity", qty, self.lot_size, self.symbol)

    def price(self, ticks: int) -> float:
        """Ticks as a price, the float nearest to the exact decimal."""
        above, below = self._tick_ratio
        return ticks * above / below  # whole numbers divide to the nearest float, whatever their size

    def qty(self, lots: int) -> float:
        """Lots as a quantity, the float nearest to the exact decimal."""
        above, below = self._lot_ratio
        return lots * above / below

    def money(self, units: int) -> float:
        """An integer amount of ``money_unit`` as quote currency."""
        above, below = self.money_ratio
        return units * above / below

    def floor_qty(self, qty: float) -> float:
        """The largest tradable quantity that is not above ``qty``, which may be off by what float arithmetic adds."""
        return self.qty(_steps(qty, self.lot_size, ROUND_FLOOR))

    def round_price(self, price: float, side: str | None = None) -> float:
        """The nearest price on the grid; for a side, the nearest that is not worse than asked for it. A price that is
        off the grid only by what float arithmetic adds counts as on it."""
        mode = {None: ROUND_HALF_EVEN, "buy": ROUND_FLOOR, "sell": ROUND_CEILING}[side]
        return self.price(_steps(price, self.tick_size, mode))


def _steps(value: float, step: Decimal, rounding: str) -> int:
    """A value in whole steps: those that ``lots`` and ``ticks`` take it for, else rounded."""
    steps = Decimal(repr(float(value))) / step
    nearest = int(steps.to_integral_value(ROUND_HALF_EVEN))
    if abs(steps - nearest) <= _slack(float(steps)):
        return nearest
    return int(steps.to_integral_value(rounding))


def _slack(steps: float) -> float:
    """The distance from an integer that a count of steps may have.

    Float division is exact to about one part in 10^16; large counts get the room they need.
    """
    return max(_GRID_SLACK, abs(steps) * 4e-16)


def _on_grid(steps: float, measure: str, value: float, step: Decimal, symbol: str) -> int:
    nearest = round(steps)
    if abs(steps - nearest) > _slack(steps):
        raise ContractError(f"{symbol}: expected a {measure} in steps of {step}, got {value!r}")
    if nearest == 0 and value != 0:  # too small for the slack above to tell it from nothing
        unit = {"price": "tick", "quantity": "lot"}[measure]
        raise ContractError(f"{symbol}: expected a {measure} of at least one {unit} of {step}, got {value!r}")
    return nearest


def file_symbol(symbol: str) -> str:
    """The symbol as it stands in file names: ``ATOM/USDT`` becomes ``ATOMUSDT``."""
    return symbol.replace("/", "")


class Instruments(Mapping[str, Instrument]):
    """The instruments of a configuration by symbol; an unknown one is named with its nearest neighbour."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._by_symbol = {i.symbol: i for i in instruments}

    def __getitem__(self, symbol: str) -> Instrument:
        instrument = self._by_symbol.get(symbol)
        if instrument is None:
            raise UnknownSymbolError(self._unknown(symbol))
        return instrument

    def get(self, symbol: str, default: object = None) -> Instrument | None:  # type: ignore[override]  # no KeyError here
        """The instrument, or None."""
        return self._by_symbol.get(symbol)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_symbol)

    def __len__(self) -> int:
        return len(self._by_symbol)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._by_symbol

    def of_venue_name(self, name: str) -> Instrument:
        """The instrument that a venue calls ``BTCUSDT``. Raises UnknownSymbolError."""
        instrument = self._by_venue_name.get(name.upper())
        if instrument is None:
            raise UnknownSymbolError(self._unknown(name))
        return instrument

    @cached_property
    def _by_venue_name(self) -> dict[str, Instrument]:
        return {file_symbol(s).upper(): i for s, i in self._by_symbol.items()}

    def _unknown(self, symbol: str) -> str:
        spellings = {**{s: s for s in self._by_symbol}, **{n: i.symbol for n, i in self._by_venue_name.items()}}
        near = difflib.get_close_matches(symbol.upper(), list(spellings), n=1)
        hint = f"; did you mean {spellings[near[0]]}?" if near else "."
        return (
            f"unknown symbol {symbol!r}: expected one of {', '.join(self._by_symbol) or 'none configured'}{hint} "
            "Add it under `instruments` in config/base.yaml"
        )
