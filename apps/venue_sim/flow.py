"""What makes the market move: a seeded flow of trades and book changes, or a recorded raw capture.

A flow changes a ``VenueMarket`` step by step and answers the trade it made; it has no clock of its own.
"""

from __future__ import annotations

import gzip
from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec

from apps.venue_sim.market import BookSide, VenueMarket, VenueTrade
from core.errors import CodecError, ConfigError

_DEPTH_EACH_SIDE: Final = 40
_MAX_EARLY_DIFFS: Final = 1_000  # kept until the capture's snapshot comes
_MAX_LOTS: Final = 50_000  # of one level or trade


class SeededFlow:
    """A random walk: the same seed makes the same tape and book.

    Args:
        market: what it drives; its book is filled on construction.
        seed: of the randomness.
        mid: the price that it starts from, in quote currency.
    """

    def __init__(self, market: VenueMarket, *, seed: int, mid: Decimal = Decimal(60_000)) -> None:
        self.market = market
        self._random = Random(f"{seed}/{market.symbol.symbol}")
        self._mid = max(_DEPTH_EACH_SIDE + 1, int(mid / market.symbol.tick))
        for distance in range(1, _DEPTH_EACH_SIDE + 1):
            market.set_level("bids", self._price(self._mid - distance), self._qty())
            market.set_level("asks", self._price(self._mid + distance), self._qty())

    def step(self, ts_ms: int) -> VenueTrade:
        """One taker order: it takes what is best, the market moves and quotes anew."""
        sells = self._random.random() < 0.5
        side: BookSide = "bids" if sells else "asks"
        price = self.market.best(side) or self._price(self._mid)
        available = self.market.level(side, price)
        qty = min(self._qty(), available) if available > 0 else self._qty()
        self.market.set_level(side, price, available - qty if available > qty else Decimal(0))
        trade = self.market.trade(price, qty, buyer_is_maker=sells, ts_ms=ts_ms)
        self.quote()
        return trade

    def quote(self) -> None:
        """Move the middle by at most one tick and quote around it; never leaves the book crossed."""
        self._mid = max(_DEPTH_EACH_SIDE + 1, self._mid + self._random.randint(-1, 1))
        self._clear("bids", self._price(self._mid))
        self._clear("asks", self._price(self._mid))
        distance = self._random.randint(1, 5)
        self.market.set_level("bids", self._price(self._mid - distance), self._qty())
        self.market.set_level("asks", self._price(self._mid + distance), self._qty())
        self._trim("bids")
        self._trim("asks")

    def _clear(self, side: BookSide, mid: Decimal) -> None:
        """Take away what stands at the middle or beyond it."""
        for price in self.market.levels(side):
            if (price < mid) if side == "bids" else (price > mid):
                return
            self.market.set_level(side, price, Decimal(0))

    def _trim(self, side: BookSide) -> None:
        for price in self.market.levels(side)[_DEPTH_EACH_SIDE:]:
            self.market.set_level(side, price, Decimal(0))

    def _price(self, ticks: int) -> Decimal:
        return ticks * self.market.symbol.tick

    def _qty(self) -> Decimal:
        return self._random.randint(1, _MAX_LOTS) * self.market.symbol.lot


class CaptureStep(NamedTuple):
    """A line of a capture: when it was received (UTC epoch nanoseconds) and the trade in it, if it is one."""

    ts_ns: int
    trade: VenueTrade | None


class CaptureFlow:
    """Plays a raw capture (lines of ``local_receive_ns JSON``, optionally gzip) of one symbol into a market.

    Trades keep their ids and depth diffs their update ids, so that a client sees what was recorded.
    """

    def __init__(self, market: VenueMarket, path: Path) -> None:
        self.market = market
        self._path = path
        self._snapshot_id: int | None = None
        self._early: deque[dict[str, Any]] = deque(maxlen=_MAX_EARLY_DIFFS)

    def steps(self) -> Iterator[CaptureStep]:
        """Apply the capture line by line. Raises CodecError naming file and line, ConfigError for no such file."""
        with _opened(self._path) as lines:
            for number, line in enumerate(lines, 1):
                received, _, body = line.partition(b" ")
                try:
                    ts_ns, message = int(received), msgspec.json.decode(body)
                except (ValueError, msgspec.DecodeError) as error:
                    raise CodecError(f"{self._path}:{number}: expected `receive_ns JSON`, got {error}") from None
                if "lastUpdateId" in message:
                    self._take_snapshot(message)
                else:
                    yield CaptureStep(ts_ns, self._take(message.get("data", message)))

    def _take_snapshot(self, message: dict[str, Any]) -> None:
        """A snapshot, and the diffs that came before it and are newer than it."""
        self._snapshot_id = message["lastUpdateId"]
        self.market.apply_depth(self._snapshot_id, _levels(message["bids"]), _levels(message["asks"]))
        for diff in self._early:
            self._take(diff)
        self._early.clear()

    def _take(self, data: dict[str, Any]) -> VenueTrade | None:
        kind = data.get("e")
        if kind == "depthUpdate":
            if self._snapshot_id is None:
                self._early.append(data)
            elif data["u"] > self._snapshot_id:
                self.market.apply_depth(data["u"], _levels(data["b"]), _levels(data["a"]), first_id=data["U"])
        if kind != "trade":
            return None
        return self.market.trade(
            Decimal(data["p"]), Decimal(data["q"]), buyer_is_maker=data["m"], ts_ms=data["T"], trade_id=data["t"]
        )


def _opened(path: Path) -> BinaryIO | gzip.GzipFile:
    try:
        return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
    except OSError as error:
        raise ConfigError(f"--capture {path}: expected a readable raw capture, got {error.strerror}") from None


def _levels(rows: list[list[str]]) -> Iterator[tuple[Decimal, Decimal]]:
    return ((Decimal(price), Decimal(qty)) for price, qty in rows)
