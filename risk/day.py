"""The profit and loss of a UTC day: realised, less fees, plus what open positions gained since the day began.

Per symbol it is the change of equity (cash plus position at the last price) since the day's opening. Last
prices come from the feed and are not durable; the opening values are, by the event that opens the day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from core.clock import NS_PER_DAY, NS_PER_S
from core.instruments import Instrument, Instruments
from core.position_ledger import Position
from risk.inputs import FEED_OK
from risk.limits import USD_PAR

_UNWELL: Final = ("stale", "reconnecting")


class Market:
    """The state of one symbol: last trade, feed health, and the position in it."""

    __slots__ = (
        "cash", "currency", "feed", "feed_ts_ns", "fill_price", "fill_ts_ns", "instrument", "lot_size", "lots",
        "min_notional", "opening", "price", "price_ts_ns", "rate_market", "recorded_price", "recorded_ts_ns", "symbol",
        "tick_size", "trade_ts_ns", "traded", "usd_par",
    )  # fmt: skip

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.symbol = instrument.symbol
        self.tick_size = float(instrument.tick_size)
        self.lot_size = float(instrument.lot_size)
        self.min_notional = float(instrument.min_notional)
        self.currency = instrument.quote
        self.usd_par = self.currency in USD_PAR
        self.rate_market: Market | None = None  # where the quote currency itself trades against dollars
        self.price = 0.0
        self.price_ts_ns = 0
        self.trade_ts_ns = 0  # of the latest trade heard; a price from the record has a time, but was not heard
        self.recorded_price = 0.0  # the last that the ledger tells of
        self.recorded_ts_ns = 0
        self.fill_price = 0.0
        self.fill_ts_ns = 0
        self.feed = FEED_OK
        self.feed_ts_ns = 0
        self.traded = False
        self.lots = 0
        self.cash = 0.0
        self.opening = 0.0

    def apply(self, position: Position, price: float, ts_ns: int) -> None:
        """Take over the position after a fill at ``price``."""
        self.hold(position)
        self.fill_price, self.fill_ts_ns = price, ts_ns

    def hold(self, position: Position) -> None:
        """Take over a position."""
        self.traded = True
        self.lots, self.cash = position.lots, position.cash

    def recorded(self) -> list[float]:
        """Price and time of the last trade on record and of our last fill, as plain JSON values."""
        return [self.recorded_price, self.recorded_ts_ns, self.fill_price, self.fill_ts_ns]

    def load_recorded(self, price: float, ts_ns: int, fill_price: float, fill_ts_ns: int) -> None:
        """Take back what ``recorded`` gave."""
        self.price, self.price_ts_ns = self.recorded_price, self.recorded_ts_ns = price, ts_ns
        self.fill_price, self.fill_ts_ns = fill_price, fill_ts_ns

    def set_mark(self, price: float, ts_ns: int) -> bool:
        """Take over the last price from a trade; returns False for one that is late, which changes nothing."""
        if ts_ns < self.trade_ts_ns:
            return False
        self.price, self.price_ts_ns, self.trade_ts_ns = price, ts_ns, ts_ns
        return True

    @property
    def mark(self) -> float:
        """The price the position is valued at: the last trade, or our own fill when that is newer. 0 if unknown."""
        return self.fill_price if self.fill_ts_ns > self.price_ts_ns else self.price

    @property
    def feed_state(self) -> str:
        """``ok`` unless the feed reported itself unwell and no trade has come since."""
        return self.feed if self.feed in _UNWELL and self.price_ts_ns <= self.feed_ts_ns else FEED_OK

    def equity(self) -> float:
        """Cash plus position at the mark, in quote currency; without any mark, as before the first trade after a
        snapshot was loaded, nothing has changed since the day opened."""
        if not self.lots:
            return self.cash
        mark = self.mark
        return self.cash + self.lots * self.lot_size * mark if mark else self.opening

    def usd_per_quote(self, rates: Mapping[str, float]) -> float:
        """Dollars per unit of quote currency, 0 if unknown."""
        if self.usd_par:
            return 1.0
        if self.rate_market is not None and self.rate_market.price > 0:
            return self.rate_market.price
        return rates.get(self.currency, 0.0)


def markets_of(instruments: Instruments) -> dict[str, Market]:
    """A market for every instrument, each knowing where its quote currency trades against dollars."""
    markets = {symbol: Market(instrument) for symbol, instrument in instruments.items()}
    for market in markets.values():
        pairs = (f"{market.currency}/{usd}" for usd in USD_PAR)
        market.rate_market = next((markets[pair] for pair in pairs if pair in markets), None)
    return markets


class TradingDay:
    """The day's profit and loss over all markets."""

    def __init__(self, markets: Sequence[Market]) -> None:
        self._markets = tuple(markets)
        self._traded: tuple[Market, ...] = ()
        self.day = -1  # days since the epoch, -1 before the first event
        self.next_day_ns = 0

    def holdings_changed(self) -> None:
        """Call after a market traded for the first time."""
        self._traded = tuple(market for market in self._markets if market.traded)

    @property
    def exposed(self) -> bool:
        """True while any position is open."""
        for market in self._traded:  # noqa: SIM110 — asked after every fill, and a generator costs more than all this
            if market.lots:
                return True
        return False

    def open_day(self, ts_ns: int) -> None:
        """Start the day of ``ts_ns`` at the values of now."""
        self._start(ts_ns // NS_PER_DAY)
        for market in self._traded:
            market.opening = market.equity()

    def pnl_usd(self, rates: Mapping[str, float]) -> float:
        """Profit and loss since the day began; a quote currency without a dollar rate counts nothing."""
        total = 0.0
        for market in self._traded:
            total += (market.equity() - market.opening) * market.usd_per_quote(rates)
        return total

    def label(self) -> str:
        """The day as a date."""
        return datetime.fromtimestamp(self.day * NS_PER_DAY // NS_PER_S, UTC).date().isoformat()

    def snapshot(self) -> dict[str, Any]:
        """The durable part: the day and its opening values, as plain JSON values."""
        return {"day": self.day, "opening": {m.symbol: m.opening for m in self._traded}}

    def load(self, snapshot: Mapping[str, Any]) -> None:
        """Become what ``snapshot`` describes; symbols no longer configured are dropped."""
        self._start(snapshot["day"])
        opening: Mapping[str, float] = snapshot["opening"]
        for market in self._markets:
            market.opening = opening.get(market.symbol, 0.0)

    def marks(self) -> dict[str, list[float]]:
        """Price and time of every open position's mark, for the record."""
        return {m.symbol: [m.mark, max(m.price_ts_ns, m.fill_ts_ns)] for m in self._traded if m.lots}

    def _start(self, day: int) -> None:
        self.day = day
        self.next_day_ns = (day + 1) * NS_PER_DAY
