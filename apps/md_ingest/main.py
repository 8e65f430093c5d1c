"""The market data daemon: a live venue, a recording or a synthetic market, in order and exactly once, over Redis.

It keeps no ledger. Its journals in ``{app.log_dir}`` (``md.trades.*``, ``md.book.*``, ``md.bbo.*``, ``md.ticker.*``,
``md.gaps.*``) are the record of the market.

A start reads their last lines, in less than a millisecond for each symbol however long they are. From a live venue
it then fetches what was traded behind the last trade id, or records a gap, and books begin with a new snapshot; a
recording or a synthetic market goes on behind what is journaled. The numbers of its broadcasts begin anew, which
every consumer sees.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Final

import typer

from apps.md_ingest.feeds import DEFAULT_CHANNELS
from apps.md_ingest.replay import parse_speed
from apps.md_ingest.resume import last_journaled
from apps.md_ingest.source import MarketSource, open_live, open_offline
from core.config import Config
from core.config.record import config_hash
from core.daemons import BEHIND_THE_FEED, FEED
from core.errors import ConfigError
from core.market.capture import CHANNELS
from core.market.ingest import MarketDataIngest
from core.service.crash_points import from_environment
from core.service.host import ComponentHost, JournalSet
from core.service.launch import DaemonSpec, open_journals, read_config, run_command, service_settings, start_logging

NAME: Final = FEED
_DEFAULT: Final = ",".join(DEFAULT_CHANNELS)
_log: Final = logging.getLogger("njord.md_ingest")
_app: Final = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def build(config: Config) -> MarketDataIngest:
    """The component for every configured instrument; the command line narrows it to the symbols it names."""
    return MarketDataIngest(config.instruments_table(), contiguous=config.exchange.contiguous_ids)


SPEC: Final = DaemonSpec(NAME, build)


@_app.command(help="Market data from a venue (ccxt.pro), a recording or a synthetic market, over Redis.")
def command(
    symbol: Annotated[list[str] | None, typer.Option(help="BASE/QUOTE; repeat it for several")] = None,
    venue: Annotated[str | None, typer.Option(help="ccxt's name of the venue  [default: exchange.name]")] = None,
    feed: Annotated[str | None, typer.Option(help="A recording, or synthetic:SEED[:MINUTES]")] = None,
    speed: Annotated[str | None, typer.Option(help="Of a feed: 1x, 10x, … or max  [default: max]")] = None,
    channels: Annotated[
        str | None, typer.Option(help=f"Of a feed: some of {','.join(CHANNELS)}  [default: {_DEFAULT}]")
    ] = None,
    lockstep: Annotated[bool, typer.Option(help="One event at a time, when all followers are done with it")] = False,
    followers: Annotated[str, typer.Option(help="Daemons that take part in lock-step")] = ",".join(BEHIND_THE_FEED),
    config_root: Annotated[Path, typer.Option(help="Folder that holds config/")] = Path(),
    config: Annotated[Path | None, typer.Option(help="The base.yaml to read instead")] = None,
    port: Annotated[int | None, typer.Option(help="Health and metrics port instead of the daemon's own")] = None,
) -> None:
    """Serve one feed until it ends or the daemon is told to stop."""
    if feed is not None and venue is not None:
        raise ConfigError("--feed and --venue: expected one of them, got both")
    if feed is None:
        _refuse_live(lockstep, speed, channels)
    settings = read_config(config_root, config)
    start_logging(NAME, settings)
    journals = open_journals(settings)
    symbols = [name for option in symbol or () for name in option.split(",")]
    journaled = last_journaled(journals, symbols or list(settings.instruments))
    if feed is not None:
        names, pace = tuple((channels or _DEFAULT).split(",")), parse_speed(speed or "max")
        source = open_offline(feed, settings, symbols, channels=names, speed=pace, journaled=journaled)
    else:
        source = open_live(venue or settings.exchange.name, settings, symbols, journaled=journaled)
    asyncio.run(_serve(settings, source, journals, port, tuple(followers.split(",")) if lockstep else ()))


def _refuse_live(lockstep: bool, speed: str | None, channels: str | None) -> None:
    """Raise ConfigError for an option that only a recording or a synthetic market can obey."""
    if lockstep:
        raise ConfigError("--lockstep needs --feed: a live venue does not wait")
    if speed is not None:
        raise ConfigError("--speed needs --feed: a live venue has its own pace")
    if channels is not None:
        raise ConfigError("--channels needs --feed: a live venue gives trades, books and best prices")


async def _serve(
    config: Config, source: MarketSource, journals: JournalSet, port: int | None, followers: Sequence[str]
) -> None:
    from core.bus import RedisBus
    from core.service.daemon import Service
    from core.service.feed_source import Source
    from core.service.kill_watch import KillSwitchWatch
    from core.service.reload import Reloading
    from core.service.systemd import Notifier

    host = ComponentHost(source.ingest, journals)
    draw = Random().random
    bus = RedisBus(config.redis.url, prefix=config.redis.key_prefix, timeout_s=config.redis.timeout_s, draw=draw)
    settings = service_settings(SPEC, config, bool(followers), port, followers)
    notifier = Notifier.from_environment(os.environ)
    try:
        await Service(
            host,
            bus,
            settings,
            kill_switch=KillSwitchWatch(str(config.kill_switch_file), bus, config.risk.kill_switch_key),
            guarded=SPEC.row.guarded,
            source=Source(source.feed.stream(), source.ask, source.counters),
            reloading=Reloading(lambda: config_hash(config)),
            reach=from_environment(os.environ),
            draw=draw,
            notifier=notifier,
        ).run()
    finally:
        notifier.stopping()
        await source.feed.aclose()
    counts = ", ".join(f"{name} {count}" for name, count in source.counters().items() if count)
    _log.info("%s ended: %s", source.feed.name, counts or "nothing came")


def main() -> int:
    """Run the daemon."""
    return run_command(_app, NAME)
