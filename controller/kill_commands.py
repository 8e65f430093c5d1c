"""``njord-ctl kill``: stop all trading, let it go on, see whether it is stopped and by what.

The file stops this machine and needs nothing that runs; the Redis key stops every machine on that Redis. Both are
switched together. A configuration that cannot be read does not keep anybody from stopping.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from controller.options import CONFIG, AsJson, ConfigFile
from controller.terminal import Exit, iso_time, print_json, print_line, print_warning

if TYPE_CHECKING:
    from core.kill_switch import Trip

T = TypeVar("T")
DEFAULT_URL: Final = "redis://127.0.0.1:6379/0"

kill = typer.Typer(help="Stop all trading, let it go on, or look.", no_args_is_help=True)

Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the switch for whoever looks next.")]


@dataclass(frozen=True, slots=True)
class _Switches:
    """Where the two switches of an installation are."""

    file: Path
    url: str
    key: str


@dataclass(frozen=True, slots=True)
class _Switch:
    """What was found or done at one switch; ``error`` when it did not answer."""

    place: str
    trip: Trip | None = None
    error: str = ""

    def plain(self) -> dict[str, object]:
        """As JSON. ``tripped`` is null where it is not known."""
        tripped = None if self.error else self.trip is not None
        reason, ts_ns = (self.trip.reason, self.trip.ts_ns) if self.trip else ("", 0)
        return {"switch": self.place, "tripped": tripped, "reason": reason, "ts_ns": ts_ns, "error": self.error}


@kill.command()
def trip(reason: Reason = "", config: ConfigFile = CONFIG, as_json: AsJson = False) -> None:
    """Stop all trading now."""
    from core import kill_switch

    switches = _switches(config)
    kill_switch.trip_file(switches.file, reason)
    _, error = _asked(kill_switch.trip_redis(switches.url, switches.key, reason))
    if error:
        print_warning(f"only this machine is stopped: {error}")
    _show(_look(switches), as_json)


@kill.command()
def clear(config: ConfigFile = CONFIG, as_json: AsJson = False) -> None:
    """Let trading go on."""
    from core import kill_switch

    switches = _switches(config)
    _, error = _asked(kill_switch.clear_redis(switches.url, switches.key))
    kill_switch.clear_file(switches.file)
    _show(_look(switches), as_json)
    if error:
        raise typer.Exit(Exit.UNAVAILABLE)


@kill.command()
def status(config: ConfigFile = CONFIG, as_json: AsJson = False) -> None:
    """Say whether trading is stopped, and by what.

    Exits with 1 when it is, with 3 when it may be: the file is not there and Redis does not answer.
    """
    found = _look(_switches(config))
    _show(found, as_json)
    if any(switch.trip is not None for switch in found):
        raise typer.Exit(Exit.BAD)
    if any(switch.error for switch in found):
        raise typer.Exit(Exit.UNAVAILABLE)


def _switches(file: Path) -> _Switches:
    from core.config import load_config
    from core.errors import ConfigError
    from core.kill_switch import DEFAULT_FILE, DEFAULT_KEY

    try:
        config = load_config(base=file)
    except ConfigError as error:
        print_warning(f"the default switches are used, because the configuration cannot be read: {error}")
        return _Switches(Path(DEFAULT_FILE), DEFAULT_URL, DEFAULT_KEY)
    return _Switches(config.risk.kill_switch_file, config.redis.url, config.risk.kill_switch_key)


def _look(switches: _Switches) -> list[_Switch]:
    from core import kill_switch

    trip, error = _asked(kill_switch.read_redis(switches.url, switches.key))
    return [
        _Switch(f"file {switches.file}", kill_switch.read_file(switches.file)),
        _Switch(f"key {switches.key}", trip, error),
    ]


def _asked(question: Coroutine[None, None, T]) -> tuple[T | None, str]:
    """What Redis answered, or why it did not."""
    import asyncio

    from core.errors import BusUnavailableError

    try:
        return asyncio.run(question), ""
    except BusUnavailableError as error:
        return None, str(error)


def _show(found: list[_Switch], as_json: bool) -> None:
    if as_json:
        tripped = any(switch.trip is not None for switch in found)
        print_json({"tripped": tripped, "switches": [switch.plain() for switch in found]})
        return
    for switch in found:
        if switch.error:
            print_warning(f"{switch.place}: unknown; {switch.error}")
        elif switch.trip is not None:
            print_line(f"{switch.place}: TRIPPED{_why(switch.trip)}")
        else:
            print_line(f"{switch.place}: clear")


def _why(trip: Trip) -> str:
    when = f" at {iso_time(trip.ts_ns)}" if trip.ts_ns else ""
    return f"{when}: {trip.reason or 'no reason given'}"
