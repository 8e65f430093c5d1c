"""The context of a strategy: its positions, open orders and parameters, last prices. Live views, read only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from core.bus import BusProto
from core.contracts import PositionSnapshot
from core.instruments import Instrument, Instruments
from strategies.orders.open_orders import OpenOrder

OPEN_STEP: Final = Decimal("1E-8")  # tick and lot of a symbol nobody configured


class AnyInstruments(Instruments):
    """Stands in where no instruments are configured: every symbol, in steps of ``OPEN_STEP``."""

    def __init__(self) -> None:
        super().__init__(())

    def __getitem__(self, symbol: str) -> Instrument:
        instrument = self._by_symbol.get(symbol)
        if instrument is None:
            instrument = self._by_symbol[symbol] = Instrument(symbol, tick_size=OPEN_STEP, lot_size=OPEN_STEP)
        return instrument

    def __contains__(self, symbol: object) -> bool:
        return isinstance(symbol, str)


@dataclass(frozen=True, slots=True)
class StrategyContext:
    """Injected state container for strategies.

    Attributes:
        strategy_id: the configured id; intents must carry it.
        bus: to listen or to publish on topics of one's own. The fleet's topics refuse: an intent is returned
            from ``on_event``, which is the only way through the checks into the ledger.
        positions: by symbol, from this strategy's own fills; flat ones are there for the configured symbols.
        prices: last trade prices (bar closes where there are no trades) by symbol, in quote currency.
        config: the ``params`` of the configuration.
        symbols: what the strategy may trade.
        instruments: tick and lot sizes.
        orders: by intent id, this strategy's own that may still fill, oldest first; they survive a restart.
    """

    strategy_id: str
    bus: BusProto
    positions: Mapping[str, PositionSnapshot]
    prices: Mapping[str, float]
    config: Mapping[str, Any]
    symbols: tuple[str, ...] = ()
    instruments: Instruments = field(default_factory=AnyInstruments)
    orders: Mapping[str, OpenOrder] = field(default_factory=dict)
