"""``njord-ctl kill`` and ``python -m scripts.njord_kill``: trip, clear and status of the file and the Redis key.

Works without a usable configuration too, on the default file and key: an emergency does not wait for a typing error.
Exit statuses are those of ``controller.terminal.Exit``: 3 is done in part or not known, 4 is tripped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from controller.options import AsJson, Root
from controller.terminal import Exit, alarming, print_json, print_line, print_warning
from core import kill_switch
from core.clock import NS_PER_S
from core.errors import NjordError
from core.kill_switch import Trip
from core.redis_address import shown_address

kill = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Stop all trading, let it go on, or say whether it is stopped.",
)


class Target(StrEnum):
    """The switches that a command is about."""

    BOTH = "both"
    FILE = "file"
    REDIS = "redis"


@dataclass(frozen=True, slots=True)
class Switches:
    """The places of the switches, and a warning where the configuration could not be used."""

    file: str = kill_switch.DEFAULT_FILE
    url: str = "redis://127.0.0.1:6379/0"
    key: str = kill_switch.DEFAULT_KEY
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state of one switch after a command. ``tripped`` is None where it is not known."""

    switch: str
    place: str
    tripped: bool | None
    reason: str = ""
    since: str = ""
    error: str = ""


TargetOption = Annotated[Target, typer.Option("--target", "-t", help="Which switch.")]
FileOption = Annotated[str | None, typer.Option("--file", help="The switch file, in place of the configured one.")]
UrlOption = Annotated[str | None, typer.Option("--redis-url", help="Redis, in place of the configured one.")]
KeyOption = Annotated[str | None, typer.Option("--key", help="The Redis key, in place of the configured one.")]


@kill.command()
def trip(
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; shown by status.")] = "by hand",
    target: TargetOption = Target.BOTH,
    root: Root = Path(),
    file: FileOption = None,
    redis_url: UrlOption = None,
    key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Stop all trading."""
    switches = _switches(root, file, redis_url, key)
    outcomes = _act_on(
        switches,
        target,
        lambda: kill_switch.trip_file(switches.file, reason),
        lambda: kill_switch.trip_redis(switches.url, switches.key, reason),
    )
    done = [outcome for outcome in outcomes if outcome.tripped]
    _finish(outcomes, switches, as_json, _all_some_none(len(done), len(outcomes)))


@kill.command()
def clear(
    target: TargetOption = Target.BOTH,
    root: Root = Path(),
    file: FileOption = None,
    redis_url: UrlOption = None,
    key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Let trading go on."""
    switches = _switches(root, file, redis_url, key)
    outcomes = _act_on(
        switches,
        target,
        lambda: kill_switch.clear_file(switches.file),
        lambda: kill_switch.clear_redis(switches.url, switches.key),
    )
    done = [outcome for outcome in outcomes if outcome.tripped is False and not outcome.error]
    _finish(outcomes, switches, as_json, _all_some_none(len(done), len(outcomes)))


@kill.command()
def status(
    target: TargetOption = Target.BOTH,
    root: Root = Path(),
    file: FileOption = None,
    redis_url: UrlOption = None,
    key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Say whether trading is stopped, and why."""
    switches = _switches(root, file, redis_url, key)
    outcomes = _act_on(switches, target, lambda: None, _nothing)
    if any(outcome.tripped for outcome in outcomes):
        code = Exit.BAD
    else:
        code = Exit.PARTLY if any(outcome.tripped is None for outcome in outcomes) else Exit.DONE
    _finish(outcomes, switches, as_json, code)


async def _nothing() -> None:
    return None


def _switches(root: Path, file: str | None, url: str | None, key: str | None) -> Switches:
    """The switches of the options, else of the configuration, else the defaults with a warning."""
    if file and url and key:
        return Switches(file, url, key)
    from core.config import load_config

    try:
        config = load_config(root)
        at = Switches(str(config.kill_switch_file), config.redis.url, config.risk.kill_switch_key)
    except NjordError as error:
        at = Switches(warning=f"configuration not usable, default switches taken: {error}")
    return Switches(file or at.file, url or at.url, key or at.key, at.warning)


def _act_on(
    switches: Switches, target: Target, on_file: Callable[[], None], on_redis: Callable[[], Awaitable[None]]
) -> list[Outcome]:
    """Act on the switches of the target, then read them. One that fails does not keep the other back."""
    outcomes = []
    if target in (Target.BOTH, Target.FILE):
        outcomes.append(_at_file(switches, on_file))
    if target in (Target.BOTH, Target.REDIS):
        import asyncio  # here, as redis-py: the file alone and --help do without

        outcomes.append(asyncio.run(_at_redis(switches, on_redis)))
    return outcomes


def _at_file(switches: Switches, act: Callable[[], None]) -> Outcome:
    error = ""
    try:
        act()
    except NjordError as failure:
        error = str(failure)
    return _outcome("file", switches.file, kill_switch.read_file(switches.file), error)


async def _at_redis(switches: Switches, act: Callable[[], Awaitable[None]]) -> Outcome:
    place = f"{switches.key} at {shown_address(switches.url)}"
    try:
        await act()
        return _outcome("redis", place, await kill_switch.read_redis(switches.url, switches.key), "")
    except NjordError as failure:
        return Outcome("redis", place, None, error=str(failure))


def _outcome(switch: str, place: str, trip: Trip | None, error: str) -> Outcome:
    if trip is None:
        return Outcome(switch, place, False, error=error)
    since = datetime.fromtimestamp(trip.ts_ns // NS_PER_S, UTC).isoformat() if trip.ts_ns > 0 else ""
    return Outcome(switch, place, True, trip.reason, since, error)


def _all_some_none(done: int, asked: int) -> Exit:
    if done == asked:
        return Exit.DONE
    return Exit.PARTLY if done else Exit.FAILED


def _finish(outcomes: list[Outcome], switches: Switches, as_json: bool, code: Exit) -> None:
    if as_json:
        answer: dict[str, Any] = {"exit": int(code), "switches": [asdict(outcome) for outcome in outcomes]}
        print_json(answer | ({"warning": switches.warning} if switches.warning else {}))
    else:
        if switches.warning:
            print_warning(f"warning: {switches.warning}")
        for outcome in outcomes:
            _print_outcome(outcome)
    raise typer.Exit(int(code))


def _print_outcome(outcome: Outcome) -> None:
    state = {True: "TRIPPED", False: "not tripped", None: "NOT KNOWN"}[outcome.tripped]
    why = " ".join(part for part in (outcome.reason, f"since {outcome.since}" if outcome.since else "") if part)
    state = alarming(state) if outcome.tripped is not False else state
    print_line(f"{outcome.switch}: {state} ({outcome.place})" + (f": {why}" if why else ""))
    if outcome.error:
        print_warning(f"  {outcome.error}")
