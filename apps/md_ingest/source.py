"""A feed with the ingest component that fits it, out of what a command line or configuration names."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from apps.md_ingest.feeds import DEFAULT_CHANNELS, Feed, OfflineFeed, open_feed
from apps.md_ingest.replay import MAX_SPEED, PacedFeed
from core import codec
from core.clock import SystemClock
from core.config import Config
from core.contracts import Contract, TradeEvent
from core.errors import ConfigError, RejectedError
from core.host import JournalSet
from core.instruments import file_symbol
from core.market.ingest import MarketDataIngest
from core.market.lines import BadLine
from core.market.sequence import BackfillRequest, numeric_id

_log: Final = logging.getLogger("njord.md_ingest")


def _tell_bad_line(bad: BadLine) -> None:
    _log.warning("%s: %s", bad.place, bad.reason)


@dataclass(frozen=True)
class MarketSource:
    """A feed and its component; ``offline`` is the same feed when it is a recording or synthetic."""

    feed: Feed
    ingest: MarketDataIngest
    offline: OfflineFeed | None = None

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
    last_ids: Mapping[str, int] | None = None,
) -> MarketSource:
    """A recording or a synthetic market. Raises ConfigError, UnknownSymbolError."""
    instruments = config.instruments_table()
    feed = open_feed(spec, instruments, symbols or None, channels, _tell_bad_line)
    if last_ids:
        _log.warning(
            "trades up to %s are journaled already and are left out; for a replay from the start name another folder "
            "with NJORD_APP__LOG_DIR", ", ".join(f"{id_} of {symbol}" for symbol, id_ in last_ids.items()),
        )  # fmt: skip
    ingest = MarketDataIngest(instruments, feed.symbols, backfill=False, last_ids=last_ids)
    return MarketSource(PacedFeed(feed, speed), ingest, feed)


def open_live(
    venue: str, config: Config, symbols: Sequence[str], *, last_ids: Mapping[str, int] | None = None
) -> MarketSource:
    """A venue through ccxt.pro. Raises ConfigError, UnknownSymbolError."""
    from apps.md_ingest.ccxt_client import make_exchange
    from apps.md_ingest.ccxt_feed import CcxtFeed
    from core.backoff import BackoffPolicy

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
    ingest = MarketDataIngest(instruments, symbols, contiguous=exchange.contiguous_ids, last_ids=last_ids)
    return MarketSource(feed, ingest)


def journaled_ids(journals: JournalSet, symbols: Sequence[str]) -> dict[str, int]:
    """The last trade id that an earlier run journaled, by symbol: the daemon goes on behind it."""
    found: dict[str, int] = {}
    for symbol in symbols:
        stream = f"md.trades.{file_symbol(symbol)}"
        if not any(journals.folder.glob(f"{stream}.*ndjson*")):
            continue
        last = journals.open(stream).last_line
        if last is None:
            continue
        try:
            number = numeric_id(codec.decode(TradeEvent, last).trade_id)
        except RejectedError:
            continue  # a line of something else: the ids of the feed decide alone
        if number is not None:
            found[symbol] = number
    return found
