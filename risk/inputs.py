"""The inputs of a decision: all that a policy may look at, plain numbers, recorded in ``RiskDecision.inputs``.

A decision can therefore be taken again, by anyone and at any time, from what its record says.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple, Self

from core.contracts import OrderIntent, TradingState
from core.errors import ContractError
from core.instruments import Instrument

FEED_OK: Final = "ok"


class RiskInputs(NamedTuple):
    """The world at the moment of one decision, as far as the policies know it.

    Prices and money are in quote currency unless the name says USD; ``*_lots`` count lots, signed for the
    position (short below 0), unsigned for working orders. Zero stands for unknown in ``ref_price``,
    ``usd_per_quote`` and the steps of an unknown symbol, and for "off the grid" in ``order_lots`` and
    ``limit_ticks``, which restate the intent in the instrument's steps.
    """

    now_ns: int
    state: str = TradingState.ACTIVE.value
    restrictions: tuple[str, ...] = ()
    kill_switch: str = ""
    known_symbol: bool = True
    tick_size: float = 0.0
    lot_size: float = 0.0
    min_notional: float = 0.0
    order_lots: int = 0
    limit_ticks: int = 0
    ref_price: float = 0.0
    ref_price_ts_ns: int = 0
    ref_source: str = "none"
    feed: str = FEED_OK
    usd_per_quote: float = 1.0
    position_lots: int = 0
    open_buy_lots: int = 0
    open_sell_lots: int = 0
    day_pnl_usd: float = 0.0
    rate_backlog_ns: int = 0

    @property
    def price_age_ms(self) -> float:
        """The age of the reference price; 0 when it does not come from a trade."""
        return (self.now_ns - self.ref_price_ts_ns) / 1e6 if self.ref_source == "trade" else 0.0

    def reducible_lots(self, side: str) -> int:
        """The lots of ``side`` that still bring the position closer to flat once the working ones have filled."""
        if side == "sell":
            return max(0, self.position_lots - self.open_sell_lots)
        return max(0, -self.position_lots - self.open_buy_lots)

    def reduces(self, side: str) -> bool:
        """True when the order is an exit: it only brings the position closer to flat, also once the working ones on its
        side have filled. Such an order cannot turn the position around."""
        return 0 < self.order_lots <= self.reducible_lots(side)

    def to_dict(self) -> dict[str, Any]:
        """The inputs as plain JSON values, in declared order."""
        recorded: dict[str, Any] = dict(zip(INPUT_NAMES, self, strict=True))
        recorded["restrictions"] = list(self.restrictions)
        return recorded

    @classmethod
    def from_dict(cls, recorded: Mapping[str, Any]) -> Self:
        """The inputs that a decision recorded. Raises ContractError when a field is missing or unknown."""
        if recorded.keys() != set(INPUT_NAMES):
            wrong = sorted(recorded.keys() ^ set(INPUT_NAMES))
            raise ContractError(f"RiskDecision.inputs: missing or unknown {', '.join(wrong)}")
        return cls(**{**recorded, "restrictions": tuple(recorded["restrictions"])})

    def restated(self, intent: OrderIntent) -> Self:
        """The same inputs with the intent counted in steps anew, so that a record is not believed about it."""
        if not self.known_symbol:
            return self
        steps = Instrument(intent.symbol, _decimal(self.tick_size), _decimal(self.lot_size))
        return self._replace(order_lots=order_lots(intent, steps), limit_ticks=limit_ticks(intent, steps))


INPUT_NAMES: Final = RiskInputs._fields


def order_lots(intent: OrderIntent, instrument: Instrument) -> int:
    """The intent's quantity in lots; 0 when it is off the grid or less than one lot."""
    try:
        return instrument.lots(intent.qty)
    except ContractError:
        return 0


def limit_ticks(intent: OrderIntent, instrument: Instrument) -> int:
    """The intent's limit price in ticks; 0 when it has none or is off the grid."""
    if intent.limit_price is None:
        return 0
    try:
        return instrument.ticks(intent.limit_price)
    except ContractError:
        return 0


def _decimal(value: float) -> Decimal:
    return Decimal(repr(value))
