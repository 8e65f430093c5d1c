"""From a command line to a running daemon: options, configuration, logging, host, service.

A daemon's ``main.py`` holds a ``DaemonSpec`` and one call of ``launch``; everything they share is here.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Final

import typer

from core.clock import SystemClock
from core.config import Config, load_config
from core.config.record import config_hash, record_config
from core.errors import JournalWriteError, NjordError
from core.service.crash_points import from_environment
from core.service.host import ComponentHost
from core.service.settings import ServiceSettings
from core.service.spec import DaemonSpec, assemble, open_journals

__all__ = [
    "DaemonSpec",
    "assemble",
    "launch",
    "open_journals",
    "read_config",
    "run_command",
    "service_settings",
    "start",
    "start_logging",
]

EXIT_FATAL: Final = 1
EXIT_USAGE: Final = 2


def start_logging(name: str, config: Config, *, stream: bool = True) -> None:
    """Log to app.ndjson, and to stderr with ``stream``."""
    from core.logging import setup_json_logging
    from core.logging.uncaught import mask_uncaught

    secrets = config.secret_values()
    mask_uncaught(secrets)
    setup_json_logging(str(config.json_dir), service=name, level=config.logging.level, secrets=secrets, stream=stream)


def read_config(config_root: Path, config_file: Path | None) -> Config:
    """The configuration of a command line: ``--config FILE`` wins over ``--config-root DIR``."""
    if config_file is None:
        return load_config(config_root)
    return load_config(config_file.resolve().parent.parent, base=config_file)


def launch(spec: DaemonSpec, argv: Sequence[str] | None = None) -> int:
    """Run a daemon that lives on the bus; returns its exit code."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

    @app.command(help=f"{spec.row.summary[0].upper()}{spec.row.summary[1:]}.")
    def main(
        config_root: Annotated[Path, typer.Option(help="Folder that holds config/")] = Path(),
        config: Annotated[Path | None, typer.Option(help="The base.yaml to read instead")] = None,
        lockstep: Annotated[bool, typer.Option(help="Take a replay in rounds, as its feed does")] = False,
        port: Annotated[int | None, typer.Option(help="Health and metrics port instead of the daemon's own")] = None,
    ) -> None:
        start(spec, lambda: read_config(config_root, config), lockstep=lockstep, port=port)

    return run_command(app, spec.name, argv)


def start(spec: DaemonSpec, read: Callable[[], Config], *, lockstep: bool = False, port: int | None = None) -> None:
    """Serve the daemon until it ends; ``read`` gives the configuration, now and on a reload."""
    config = read()
    start_logging(spec.name, config)
    record_config(config, SystemClock().now_ns())  # ambient: when a start was, for who reads it
    asyncio.run(_serve(spec, config, read, service_settings(spec, config, lockstep, port)))


async def _serve(spec: DaemonSpec, config: Config, read: Callable[[], Config], settings: ServiceSettings) -> None:
    from core.bus import RedisBus
    from core.service.daemon import Service
    from core.service.kill_watch import KillSwitchWatch
    from core.service.reload import Reloading
    from core.service.supervisor import Supervisor
    from core.service.systemd import Notifier

    draw = Random().random  # ambient: spreads what is tried again over the fleet; decides nothing
    reach = from_environment(os.environ)  # ambient: where a test ends the process, decided by who starts it
    notifier = Notifier.from_environment(os.environ)  # ambient: whether systemd started it
    in_force = config

    def begin(trouble: JournalWriteError | None) -> Service:
        host = assemble(spec, in_force, trouble=trouble, current=lambda: in_force)
        bus = RedisBus(config.redis.url, prefix=config.redis.key_prefix, timeout_s=config.redis.timeout_s, draw=draw)
        apply = None if spec.reload is None else lambda: reload(host)
        return Service(
            host,
            bus,
            settings,
            kill_switch=KillSwitchWatch(str(config.kill_switch_file), bus, config.risk.kill_switch_key),
            guarded=spec.row.guarded,
            startup_events=host.catch_up(),
            reloading=Reloading(lambda: config_hash(in_force), apply),
            reach=reach,
            notifier=notifier,
            draw=draw,
        )

    def reload(host: ComponentHost) -> None:
        nonlocal in_force
        fresh = read()
        if spec.reload is not None:
            spec.reload(host.component, fresh)
        in_force = spec.reloaded(in_force, fresh)
        record_config(in_force, SystemClock().now_ns())  # ambient: likewise

    try:
        await Supervisor(spec.name, begin, settings, notifier=notifier, draw=draw).run()
    finally:
        notifier.stopping()


def service_settings(
    spec: DaemonSpec, config: Config, lockstep: bool, port: int | None, followers: Sequence[str] = ()
) -> ServiceSettings:
    """The service's settings out of the configuration."""
    return ServiceSettings(
        bind_host=config.services.bind_host,
        port=config.services.base_port + spec.row.port_offset if port is None else port,
        heartbeat_s=config.services.heartbeat_s,
        drain_s=config.services.drain_s,
        lockstep=lockstep,
        followers=followers,
    )


def run_command(app: typer.Typer, name: str, argv: Sequence[str] | None = None) -> int:
    """Run a command line; one of our errors becomes one sentence on stderr and an exit code."""
    try:
        app(args=None if argv is None else list(argv), prog_name=f"python -m apps.{name}", standalone_mode=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_FATAL
    except NjordError as error:
        print(f"{name}: {error}", file=sys.stderr)
        if "core.logging.setup" in sys.modules:  # otherwise it died before there was a log
            sys.modules["core.logging.setup"].record_end(str(error))
        return EXIT_FATAL
    except KeyboardInterrupt:
        return 130
    return 0
