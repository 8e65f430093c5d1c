"""``njord-ctl kill`` and ``python -m scripts.njord_kill``: trip, clear and status of the file and the Redis key.

Works without a usable configuration too, on the default file and key: an emergency does not wait for a typing error.
Exit statuses are those of ``controller.terminal.Exit``: 3 is done in part or not known, 4 is tripped.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from controller.options import AsJson, Root
from controller.terminal import Exit
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
    """Which switches a command is about."""

    BOTH = "both"
    FILE = "file"
    REDIS = "redis"


@dataclass(frozen=True, slots=True)
class Switches:
    """Where the switches are, and a word where the configuration could not say."""

    file: str = kill_switch.DEFAULT_FILE
    url: str = "redis://127.0.0.1:6379/0"
    key: str = kill_switch.DEFAULT_KEY
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command found or did at one switch. ``tripped`` is None where it is not known."""

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
    at = _switches(root, file, redis_url, key)
    outcomes = _each(
        at,
        target,
        lambda: kill_switch.trip_file(at.file, reason),
        lambda: kill_switch.trip_redis(at.url, at.key, reason),
    )
    done = [outcome for outcome in outcomes if outcome.tripped]
    _finish(outcomes, at, as_json, _all_some_none(len(done), len(outcomes)))


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
    at = _switches(root, file, redis_url, key)
    outcomes = _each(
        at, target, lambda: kill_switch.clear_file(at.file), lambda: kill_switch.clear_redis(at.url, at.key)
    )
    done = [outcome for outcome in outcomes if outcome.tripped is False and not outcome.error]
    _finish(outcomes, at, as_json, _all_some_none(len(done), len(outcomes)))


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
    at = _switches(root, file, redis_url, key)
    outcomes = _each(at, target, lambda: None, _nothing)
    if any(outcome.tripped for outcome in outcomes):
        code = Exit.BAD
    else:
        code = Exit.PARTLY if any(outcome.tripped is None for outcome in outcomes) else Exit.DONE
    _finish(outcomes, at, as_json, code)


async def _nothing() -> None:
    return None


def _switches(root: Path, file: str | None, url: str | None, key: str | None) -> Switches:
    """What is given, else what is configured, else the defaults with a warning."""
    if file and url and key:
        return Switches(file, url, key)
    from core.config import load_config

    try:
        config = load_config(root)
        at = Switches(str(config.kill_switch_file), config.redis.url, config.risk.kill_switch_key)
    except NjordError as error:
        at = Switches(warning=f"configuration not usable, default switches taken: {error}")
    return Switches(file or at.file, url or at.url, key or at.key, at.warning)


def _each(
    at: Switches, target: Target, on_file: Callable[[], None], on_redis: Callable[[], Awaitable[None]]
) -> list[Outcome]:
    """Act on the switches asked for, then look what they say. One that fails does not keep the other back."""
    outcomes = []
    if target in (Target.BOTH, Target.FILE):
        outcomes.append(_at_file(at, on_file))
    if target in (Target.BOTH, Target.REDIS):
        import asyncio  # here, as redis-py: the file alone and --help do without

        outcomes.append(asyncio.run(_at_redis(at, on_redis)))
    return outcomes


def _at_file(at: Switches, act: Callable[[], None]) -> Outcome:
    error = ""
    try:
        act()
    except NjordError as failure:
        error = str(failure)
    return _outcome("file", at.file, kill_switch.read_file(at.file), error)


async def _at_redis(at: Switches, act: Callable[[], Awaitable[None]]) -> Outcome:
    place = f"{at.key} at {shown_address(at.url)}"
    try:
        await act()
        return _outcome("redis", place, await kill_switch.read_redis(at.url, at.key), "")
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


def _finish(outcomes: list[Outcome], at: Switches, as_json: bool, code: Exit) -> None:
    if as_json:
        answer: dict[str, Any] = {"exit": int(code), "switches": [asdict(outcome) for outcome in outcomes]}
        typer.echo(json.dumps(answer | ({"warning": at.warning} if at.warning else {})))
    else:
        if at.warning:
            typer.secho(f"warning: {at.warning}", fg="yellow", err=True)
        for outcome in outcomes:
            _tell(outcome)
    raise typer.Exit(int(code))


def _tell(outcome: Outcome) -> None:
    word, colour = {True: ("TRIPPED", "red"), False: ("not tripped", "green"), None: ("NOT KNOWN", "yellow")}[
        outcome.tripped
    ]
    why = " ".join(part for part in (outcome.reason, f"since {outcome.since}" if outcome.since else "") if part)
    typer.secho(f"{outcome.switch}: {word}", fg=colour, nl=False)
    typer.echo(f" ({outcome.place})" + (f": {why}" if why else ""))
    if outcome.error:
        typer.secho(f"  {outcome.error}", fg="red", err=True)
