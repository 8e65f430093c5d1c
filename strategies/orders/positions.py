"""Strategy positions: a fold over the fills of each strategy, kept in exact lots and shown as snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from core.contracts import FillEvent, PositionSnapshot
from core.contracts.fast_init import trusted
from core.instruments import Instruments
from core.position_ledger import PositionLedger

_snapshot: Final = trusted(PositionSnapshot)  # of a ledger's own numbers


class StrategyPositions:
    """One position ledger per strategy id, configured or not: a strategy that comes back finds its positions."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._ledgers: dict[str, PositionLedger] = {}
        self._shown: dict[str, dict[str, PositionSnapshot]] = {}

    def view(self, strategy_id: str, symbols: Iterable[str] = ()) -> Mapping[str, PositionSnapshot]:
        """The live, read-only positions of a strategy; symbols named here and never traded are shown flat."""
        shown = self._shown.setdefault(strategy_id, {})
        for symbol in symbols:
            shown.setdefault(symbol, PositionSnapshot(symbol, 0.0, 0.0, 0.0, 0, strategy_id))
        return MappingProxyType(shown)

    def apply(self, fill: FillEvent) -> None:
        """Add one fill to its strategy's positions; a fill of nobody's is left out.

        Raises:
            UnknownSymbolError: no instrument of that symbol.
            ContractError: price or quantity off the instrument's grid.
        """
        if not fill.strategy_id:
            return
        ledger = self._ledgers.get(fill.strategy_id) or PositionLedger(self._instruments)
        position = ledger.apply(fill)
        self._ledgers[fill.strategy_id] = ledger  # only now: a fill that was refused leaves no trace
        self._shown.setdefault(fill.strategy_id, {})[fill.symbol] = _snapshot(
            symbol=fill.symbol,
            qty=position.qty,
            avg_price=position.avg_price,
            realized_pnl=position.realized_pnl,
            ts_ns=fill.ts_ns,
            strategy_id=fill.strategy_id,
            unrealized_pnl=position.unrealized_pnl(fill.price),
            fees_paid=position.fees_paid,
            mark_price=fill.price,
        )

    def snapshot(self) -> dict[str, Any]:
        """The positions as plain JSON values, by strategy id."""
        return {strategy_id: self._ledgers[strategy_id].snapshot() for strategy_id in sorted(self._ledgers)}

    def shown(self) -> dict[str, Any]:
        """The positions that strategies see, of each symbol that they traded, as plain JSON values."""
        return {
            strategy_id: [
                self._shown[strategy_id][symbol].to_dict() for symbol in self._ledgers[strategy_id].positions()
            ]
            for strategy_id in sorted(self._ledgers)
        }

    def load(self, snapshot: Mapping[str, Any], shown: Mapping[str, Any]) -> None:
        """Become what ``snapshot`` and ``shown`` gave. Only for positions that have seen no fill.

        Raises:
            UnknownSymbolError, ConfigError, ContractError: it does not fit the instruments.
        """
        for strategy_id, saved in snapshot.items():
            ledger = self._ledgers[strategy_id] = PositionLedger(self._instruments)
            ledger.load(saved)
            positions = [PositionSnapshot.from_dict(position) for position in shown[strategy_id]]
            self._shown.setdefault(strategy_id, {}).update({position.symbol: position for position in positions})
