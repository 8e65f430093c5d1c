"""From "be long" to the one order that is missing: position and orders under way taken into account, in lots.

A strategy that says what it wants to hold, not what it wants to do, cannot buy the same position twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from core import ids
from core.contracts import Contract, FillEvent, OrderIntent, OrderType, OrderUpdate, RiskDecision
from core.errors import ConfigError
from strategies.context import StrategyContext
from strategies.identity import identity_of

PENDING_LIMIT: Final = 16  # orders under way per strategy; beyond it nothing is added until one comes to an end


class TargetParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The parameters that every strategy with a target position has.

    ``qty`` is in base currency. Limit orders stand at the price of the signal. ``allow_short`` false makes a
    sell signal mean "flat". ``period_s`` is the time between two samples of the trade price, 0 for every trade.
    """

    qty: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    order_type: Literal["market", "limit"] = "market"
    allow_short: bool = True
    period_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class TargetOrders:
    """Orders that move each symbol's position to plus, minus or no ``qty``.

    What is under way is known by the ids of its intents; it ends with a denial, a last order update or fills.
    """

    def __init__(self, context: StrategyContext, params: TargetParams) -> None:
        self._context = context
        self._type: OrderType = params.order_type
        self._lowest = -1 if params.allow_short else 0
        self._lots = {symbol: self._size(symbol, params.qty) for symbol in context.symbols}
        self._pending: dict[str, tuple[str, int]] = {}  # by intent: symbol, signed lots not filled yet

    def aim(self, cause: Contract, symbol: str, direction: Literal[1, 0, -1], price: float) -> list[OrderIntent]:
        """The order that takes the position in ``symbol`` to ``direction`` times the quantity, if one is missing.

        Args:
            cause: the event that the signal came from; names the intent and gives its time.
            symbol: what to trade.
            direction: 1 long, -1 short (flat when shorts are not allowed), 0 flat.
            price: of the signal, in quote currency; where a limit order stands.
        """
        missing = max(direction, self._lowest) * self._lots[symbol] - self._committed(symbol)
        if not missing or len(self._pending) >= PENDING_LIMIT:
            return []
        instrument = self._context.instruments[symbol]
        side: Literal["buy", "sell"] = "buy" if missing > 0 else "sell"
        intent = OrderIntent(
            strategy_id=self._context.strategy_id,
            symbol=symbol,
            side=side,
            type=self._type,
            qty=instrument.qty(abs(missing)),
            limit_price=instrument.round_price(price, side) if self._type == "limit" else None,
            intent_id=ids.intent_id(self._context.strategy_id, f"{identity_of(cause)}|{symbol}", 0),
            ts_local_ns=cause.ts_ns,
        )
        self._pending[intent.intent_id] = (symbol, missing)
        return [intent]

    def settle(self, event: Contract) -> None:
        """Note what became of an order: to be called with every event, before ``aim``."""
        match event:
            case RiskDecision(allowed=False) | OrderUpdate(done=True):
                self._pending.pop(event.intent_id, None)
            case FillEvent() if event.intent_id in self._pending:
                symbol, open_lots = self._pending[event.intent_id]
                filled = self._context.instruments[symbol].lots(event.qty)
                open_lots -= filled if event.side == "buy" else -filled
                if open_lots:
                    self._pending[event.intent_id] = (symbol, open_lots)
                else:
                    del self._pending[event.intent_id]

    def state(self) -> dict[str, tuple[str, int]]:
        """What is under way, for a successor."""
        return dict(self._pending)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what is under way."""
        self._pending = dict(state)

    def _committed(self, symbol: str) -> int:
        """Signed lots held and under way."""
        held = self._context.positions.get(symbol)
        lots = self._context.instruments[symbol].lots(held.qty) if held is not None else 0
        return lots + sum(lots for of, lots in self._pending.values() if of == symbol)

    def _size(self, symbol: str, qty: float) -> int:
        instrument = self._context.instruments[symbol]
        lots = instrument.lots(instrument.floor_qty(qty))
        if lots < 1:
            raise ConfigError(
                f"strategy {self._context.strategy_id!r}: params.qty: expected at least one lot of {symbol}, "
                f"{instrument.lot_size}, got {qty}"
            )
        return lots
