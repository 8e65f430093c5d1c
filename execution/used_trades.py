"""Used trades: those recorded trades that have filled something already, so that their volume is used once.

A feed that starts over after a crash delivers trades again; what they gave must not be given twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.contracts import TradeEvent


class UsedTrades:
    """Per symbol, the time of the latest trade that filled something and the ids of those of that moment.

    A fold over fills: nothing but what their events say. A trade without id is known by its time alone.
    """

    def __init__(self) -> None:
        self._latest: dict[str, tuple[int, tuple[str, ...]]] = {}

    def __contains__(self, trade: TradeEvent) -> bool:
        """True when the trade is one of those, or so late that it may be."""
        latest = self._latest.get(trade.symbol)
        if latest is None or trade.ts > latest[0]:
            return False
        return trade.ts < latest[0] or trade.trade_id in latest[1]

    def add(self, symbol: str, ts_ns: int, trade_id: str) -> None:
        """A trade filled something; no id stands for none, such as a fill at placement."""
        if not trade_id:
            return
        latest, names = self._latest.get(symbol, (0, ()))
        if ts_ns > latest:
            self._latest[symbol] = ts_ns, (trade_id,)
        elif trade_id not in names:
            self._latest[symbol] = latest, (*names, trade_id)

    def snapshot(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {symbol: [ts_ns, list(names)] for symbol, (ts_ns, names) in sorted(self._latest.items())}

    def load(self, snapshot: Mapping[str, Any]) -> None:
        """Become what ``snapshot`` describes."""
        self._latest = {symbol: (ts_ns, tuple(names)) for symbol, (ts_ns, names) in snapshot.items()}
