"""The health of a live feed, by its own statuses: for the screen, and for what a finished run has to admit."""

from __future__ import annotations

from collections.abc import Callable

from core.clock import NS_PER_S
from core.contracts import FeedStatus


class FeedHealth:
    """Follows the status of every symbol's trades.

    Args:
        on_change: called when a symbol's state is another one than the last.

    Attributes:
        latest: the last status of each symbol ahead of the feed's end.
        interruptions: the number of times that a symbol which was live no longer was.
    """

    def __init__(self, on_change: Callable[[FeedStatus], None] = lambda _: None) -> None:
        self.latest: dict[str, FeedStatus] = {}
        self.interruptions = 0
        self._on_change = on_change
        self._away_ns = 0
        self._away_since: dict[str, int] = {}

    @property
    def away_s(self) -> float:
        """The time that symbols were away which came back, in seconds by the clock of receipt."""
        return self._away_ns / NS_PER_S

    @property
    def troubled(self) -> list[FeedStatus]:
        """The symbols that are not live."""
        return [status for status in self.latest.values() if status.state != "live"]

    def away_since_ns(self, symbol: str) -> int | None:
        """The time since which a symbol that was live is away; None when it is not."""
        return self._away_since.get(symbol)

    def take(self, status: FeedStatus) -> None:
        """Take a status in; the end of the feed says nothing of its health."""
        if status.state == "ended":
            return
        previous, self.latest[status.symbol] = self.latest.get(status.symbol), status
        if status.state == "live":
            since = self._away_since.pop(status.symbol, None)
            self._away_ns += 0 if since is None else max(0, status.ts_changed_ns - since)
        elif previous is not None and previous.state == "live":
            self.interruptions += 1
            self._away_since[status.symbol] = status.ts_changed_ns
        if previous is None or previous.state != status.state:
            self._on_change(status)


def in_words(status: FeedStatus) -> str:
    """``BTC/USDT reconnecting: …``."""
    return f"{status.symbol} {status.state}{': ' if status.detail else ''}{status.detail}"
