"""A feed with the ingest component that fits it, out of what a command line or configuration names."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from apps.md_ingest.feeds import DEFAULT_CHANNELS, Feed, OfflineFeed, open_feed
from apps.md_ingest.replay import MAX_SPEED, PacedFeed
from apps.md_ingest.resume import JournaledPart, LastJournaled, MarketEvent, journaled_tails, trade_ids
from core.clock import SystemClock
from core.config import Config
from core.contracts import BboEvent, BookEvent, Contract, TradeEvent
from core.errors import ConfigError
from core.market.ingest import MarketDataIngest
from core.market.lines import BadLine
from core.market.sequence import BackfillRequest

_log: Final = logging.getLogger("njord.md_ingest")


def _tell_bad_line(bad: BadLine) -> None:
    _log.warning("%s: %s", bad.place, bad.reason)


@dataclass(frozen=True)
class MarketSource:
    """A feed and its component; ``offline`` is the same feed when it is a recording or synthetic, ``journaled`` what
    an earlier run had of it."""

    feed: Feed
    ingest: MarketDataIngest
    offline: OfflineFeed | None = None
    journaled: JournaledPart | None = None

    def counters(self) -> Mapping[str, int]:
        """The counts of the feed and its component since the start, by names in snake case."""
        return {**self.feed.counters(), **self.ingest.counters()}

    def ask(self, request: Contract) -> None:
        """Hand the component's request for missing trades to the feed; the answer comes out of its stream."""
        if isinstance(request, BackfillRequest):
            self.feed.backfill(request)


def open_offline(
    spec: str,
    config: Config,
    symbols: Sequence[str] = (),
    *,
    channels: Sequence[str] = DEFAULT_CHANNELS,
    speed: float = MAX_SPEED,
    journaled: LastJournaled | None = None,
) -> MarketSource:
    """A recording or a synthetic market, behind what an earlier run ``journaled``.

    Raises ConfigError, UnknownSymbolError.
    """
    instruments = config.instruments_table()
    feed = open_feed(spec, instruments, symbols or None, channels, _tell_bad_line)
    last = {place: event for place, event in (journaled or {}).items() if event.symbol in feed.symbols}
    if last:
        _log.warning(
            "%s goes on behind what is journaled already (%s); for a replay from the start name another folder with "
            "NJORD_APP__LOG_DIR", feed.name, ", ".join(_in_words(event) for event in last.values()),
        )  # fmt: skip
    contiguous = config.exchange.contiguous_ids
    tails = {} if contiguous else journaled_tails(config.log_dir, last)
    part = JournaledPart(last, tails, contiguous=contiguous)
    ingest = MarketDataIngest(
        instruments, feed.symbols, backfill=False, contiguous=contiguous, last_ids=trade_ids(last)
    )
    return MarketSource(PacedFeed(feed, speed, journaled=part), ingest, feed, part)


def _in_words(event: MarketEvent) -> str:
    """``BTC/USDT trade 12``, ``BTC/USDT book 34``."""
    if isinstance(event, TradeEvent):
        return f"{event.symbol} trade {event.trade_id}"
    if isinstance(event, BboEvent):
        return f"{event.symbol} best bid and offer {event.update_id}"
    return f"{event.symbol} book {event.last_id}" if isinstance(event, BookEvent) else f"{event.symbol} ticker"


def open_live(
    venue: str, config: Config, symbols: Sequence[str], *, journaled: LastJournaled | None = None
) -> MarketSource:
    """A venue through ccxt.pro, behind what an earlier run ``journaled``. Raises ConfigError, UnknownSymbolError."""
    from apps.md_ingest.ccxt_client import make_exchange
    from apps.md_ingest.ccxt_feed import CcxtFeed
    from core.retry import BackoffPolicy

    exchange, instruments = config.exchange, config.instruments_table()
    key = exchange.api_key  # Binance wants one for trades older than the last thousand
    secret = key.get_secret_value() if key else ""
    client = make_exchange(venue, urls=dict(exchange.urls) or None, api_key=secret)
    if not symbols:
        raise ConfigError(
            f"--venue {venue}: expected a --symbol with it, such as --symbol BTC/USDT (make: SYMBOL=BTC/USDT)"
        )
    for symbol in symbols:
        instruments[symbol]
    last = {place: event for place, event in (journaled or {}).items() if event.symbol in symbols}
    last_ids = trade_ids(last)
    policy = BackoffPolicy(exchange.backoff_base_s, exchange.backoff_max_s, jitter=exchange.backoff_jitter)
    feed = CcxtFeed(
        client,
        symbols,
        venue=venue,
        clock=SystemClock(),
        random=random.Random().random,
        staleness_limit_s=exchange.staleness_limit_s,
        backoff=policy,
        resume_from=last_ids,
    )
    ingest = MarketDataIngest(
        instruments, symbols, contiguous=exchange.contiguous_ids, last_ids=last_ids,
        tails=journaled_tails(config.log_dir, last),
    )  # fmt: skip
    return MarketSource(feed, ingest)
