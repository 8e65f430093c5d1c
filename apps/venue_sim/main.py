"""The command line of the simulated venue: starts it, says how to point Njord at it, and runs until it is stopped."""

from __future__ import annotations

import asyncio
from collections import deque
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from apps.venue_sim.faults import RestRefusal
from apps.venue_sim.market import VenueMarket, VenueSymbol
from core.clock import Clock, SystemClock
from core.errors import ConfigError
from core.instruments import Instruments
from core.service.launch import read_config, run_command

if TYPE_CHECKING:
    from apps.venue_sim.drive import Drive
    from apps.venue_sim.server import VenueServer

NAME: Final = "venue_sim"
_app: Final = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def dotted(urls: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """The addresses under the names of the configuration, such as ``ws.spot``."""
    out: dict[str, str] = {}
    for key, value in urls.items():
        if isinstance(value, dict):
            out.update(dotted(value, f"{prefix}{key}."))
        else:
            out[f"{prefix}{key}"] = str(value)
    return out


def instructions(server: VenueServer) -> str:
    """What to type so that Njord's client talks to this venue and to nothing else."""
    urls = dotted(server.client_urls())
    rows = "\n".join(f"    {name}: {address}" for name, address in urls.items())
    symbol = next(iter(server.markets.values())).symbol.symbol
    return (
        f"REST    {server.http_url}/api/v3\nstreams {server.ws_url}/stream/ws\n\n"
        f"configuration:\n\nexchange:\n  urls:\n{rows}\n\nor for one shell:\n\n"
        f"export NJORD_EXCHANGE__URLS='{msgspec.json.encode(urls).decode()}'\n"
        f"make run-md VENUE=binanceus SYMBOL={symbol}\n"
    )


def parse_refusals(texts: list[str]) -> deque[RestRefusal]:
    """``STATUS`` or ``STATUS:TIMES``; 0 is an answer that never comes. Raises ConfigError."""
    out: deque[RestRefusal] = deque()
    for text in texts:
        status, _, times = text.partition(":")
        if not status.isdecimal() or not (times or "1").isdecimal():
            raise ConfigError(f"--rest-refuse: expected STATUS or STATUS:TIMES such as 429:3, got {text!r}")
        retry_after_s = 1 if status in ("418", "429") else None
        out.extend([RestRefusal(int(status), retry_after_s=retry_after_s)] * int(times or "1"))
    return out


def _symbol(name: str, instruments: Instruments) -> VenueSymbol:
    """With the steps that Njord is configured for, so that it does not reject the trades."""
    instrument = instruments.get(name)
    return VenueSymbol(name) if instrument is None else VenueSymbol(name, instrument.tick_size, instrument.lot_size)


def _mid(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(0)
    if not value.is_finite() or value <= 0:
        raise ConfigError(f"--mid: expected a price above 0, got {text!r}")
    return value


@_app.command(help="A Binance-compatible venue on 127.0.0.1: market streams and REST trades, with faults on request.")
def command(
    symbol: Annotated[list[str] | None, typer.Option(help="BASE/QUOTE; repeat it  [default: BTC/USDT]")] = None,
    port: Annotated[int, typer.Option(help="0 for any free one")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed makes the same market")] = 1,
    rate: Annotated[float, typer.Option(help="Trades per second and symbol")] = 50.0,
    mid: Annotated[str, typer.Option(help="The price the market starts from")] = "60000",
    capture: Annotated[Path | None, typer.Option(help="Play this raw capture instead of a seeded market")] = None,
    speed: Annotated[float, typer.Option(help="Of the capture, 1 as recorded")] = 1.0,
    seconds: Annotated[float, typer.Option(help="Stop after this long; 0 runs until stopped")] = 0.0,
    drop: Annotated[float, typer.Option(help="Fraction of stream frames that are lost")] = 0.0,
    duplicate: Annotated[float, typer.Option(help="Fraction of stream frames that come twice")] = 0.0,
    reorder: Annotated[float, typer.Option(help="Fraction of stream frames that come late")] = 0.0,
    cut_at: Annotated[int, typer.Option(help="Abort all sockets at this trade")] = 0,
    cut_every: Annotated[int, typer.Option(help="Abort all sockets every so many trades")] = 0,
    close_dials: Annotated[int, typer.Option(help="Close so many new sockets before they can subscribe")] = 0,
    stall_at: Annotated[int, typer.Option(help="Go silent at this trade, sockets open")] = 0,
    stall_for_s: Annotated[float, typer.Option(help="How long it stays silent")] = 5.0,
    down_at: Annotated[int, typer.Option(help="Refuse connections from this trade on")] = 0,
    down_for_s: Annotated[float, typer.Option(help="How long it refuses them")] = 5.0,
    history: Annotated[int, typer.Option(help="Trades that REST remembers; 0 for all")] = 0,
    rest_refuse: Annotated[list[str] | None, typer.Option(help="Refuse REST: 429, 503:3, 0 never answers")] = None,
    rest_delay_s: Annotated[float, typer.Option(help="Hold every REST answer back")] = 0.0,
    config_root: Annotated[Path, typer.Option(help="Folder of config/, for the steps of the symbols")] = Path(),
    key_required: Annotated[bool, typer.Option(help="Old trades only with an API key")] = True,
) -> None:
    """Serve until stopped."""
    from apps.venue_sim.drive import Drive, FaultPlan  # here: --help does without a web server
    from apps.venue_sim.flow import CaptureFlow, SeededFlow
    from apps.venue_sim.server import VenueServer

    clock = SystemClock()
    instruments = read_config(config_root, None).instruments_table()
    markets = [VenueMarket(_symbol(name, instruments)) for name in symbol or ["BTC/USDT"]]
    server = VenueServer(
        markets, clock=clock, port=port, key_required=key_required, seed=seed, drop=drop, duplicate=duplicate,
        reorder=reorder,
    )  # fmt: skip
    server.stream_faults.closed_dials = close_dials
    server.rest_faults.delay_s = rest_delay_s
    server.rest_faults.history = history or None
    server.rest_faults.refusals = parse_refusals(rest_refuse or [])
    plan = FaultPlan(cut_at, cut_every, stall_at, stall_for_s, down_at, down_for_s)
    if capture is not None and len(markets) != 1:
        raise ConfigError(f"--capture: expected one --symbol, the recorded one, got {len(markets)}")
    drive = Drive(server, clock, plan)
    if capture is not None:
        flows = [drive.recorded(CaptureFlow(markets[0], capture), speed)]
    else:
        flows = [drive.seeded(SeededFlow(market, seed=seed, mid=_mid(mid)), rate) for market in markets]
    asyncio.run(_serve(server, drive, flows, seconds, clock))


async def _serve(server: VenueServer, drive: Drive, flows: list[Any], seconds: float, clock: Clock) -> None:
    try:
        await server.start()
    except OSError as error:
        for flow in flows:
            flow.close()
        raise ConfigError(f"--port {server.port}: expected a free port, got {error.strerror}") from None
    typer.echo(instructions(server))
    started_ns = clock.now_ns()
    try:
        async with asyncio.timeout(seconds or None):
            await asyncio.gather(*flows)
    except TimeoutError:
        pass
    finally:
        await drive.stop()
        await server.stop()
        typer.echo(f"{drive.trades} trades in {(clock.now_ns() - started_ns) / 1e9:.1f} s")


def main() -> int:
    """Run the command."""
    return run_command(_app, NAME)
