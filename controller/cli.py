"""``njord-ctl``: one command for whoever runs the fleet. Everything heavy is imported inside the command that needs it.

Exit statuses (``controller.terminal.Exit``) are stable: 0 done and sound; 1 not done; 2 the command line is wrong or
names a file that is not there; 3 done in part, or it could not be found out; 4 bad news, such as a broken ledger, a
flawed configuration or a tripped kill switch.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from controller import backtest_commands
from controller.diff.commands import diff
from controller.kill_commands import kill
from controller.ledger.commands import ledger
from controller.options import AsJson, Root
from controller.terminal import CommandError, Exit, print_json, print_line, print_table, print_warning
from core.console import adapt_console

app = typer.Typer(
    name="njord-ctl",
    help="Run and inspect the Njord trading fleet.",
    epilog="Exit status: 0 done, 1 not done, 2 wrong command line, 3 in part or unknown, 4 bad news.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # ruled help costs a quarter of a second of imports
    context_settings={"help_option_names": ["-h", "--help"]},
)
config = typer.Typer(help="Look at the configuration.", no_args_is_help=True)
app.add_typer(ledger, name="ledger")
app.add_typer(kill, name="kill")
app.add_typer(config, name="config")
app.command()(diff)
backtest_commands.register(app)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def run(context: typer.Context) -> None:
    """Run the whole fleet in one process.

    Options are those of `python -m apps.fleet`; `njord-ctl run --help` lists them.
    """
    os.execv(sys.executable, [sys.executable, "-m", "apps.fleet", *context.args])


@config.command("check")
def config_check(
    root: Root = Path(),
    as_json: AsJson = False,
) -> None:
    """Read the configuration as the daemons do and say what is wrong with it."""
    from core.config import live_enabled, load_config
    from core.errors import ConfigError
    from risk.limits import RiskLimits

    try:
        loaded = load_config(root)
        RiskLimits.of(loaded.risk)
    except ConfigError as error:
        if not as_json:
            raise
        print_json({"ok": False, "errors": str(error).splitlines()})
        raise typer.Exit(Exit.BAD) from None
    live = live_enabled(loaded)
    if as_json:
        print_json({"ok": True, "env": loaded.app.env, "live": live, "strategies": len(loaded.strategies)})
        return
    print_line(f"the configuration is sound: env {loaded.app.env}, {len(loaded.strategies)} strategies")
    if live:
        print_warning("LIVE: orders go to the venue and move money")


@app.command()
def topics(as_json: AsJson = False) -> None:
    """List what travels on the bus.

    One row per topic: its contract, who sends it, who receives it, and how safely it gets there.
    """
    from core.topics import TABLE

    if as_json:
        print_json(
            [
                {
                    "topic": row.template,
                    "contract": row.contract.__name__,
                    "producers": row.producers,
                    "consumers": row.consumers,
                    "listeners": row.listeners,
                    "delivery": row.delivery.value,
                    "journal": row.journal,
                }
                for row in TABLE
            ]
        )
        return
    print_table(
        ("topic", "contract", "producers", "consumers", "delivery"),
        [
            (
                row.template,
                row.contract.__name__,
                ", ".join(row.producers),
                ", ".join(row.receivers),
                row.delivery.value,
            )
            for row in TABLE
        ],
    )


@app.command()
def version(as_json: AsJson = False) -> None:
    """Print the version."""
    import platform
    from importlib.metadata import version as installed

    if as_json:
        print_json({"njord": installed("njord"), "python": platform.python_version()})
    else:
        print_line(f"njord {installed('njord')} on Python {platform.python_version()}")


def main(arguments: list[str] | None = None) -> int:
    """The console script: run a command, turn errors into a line that says what to do and a status."""
    adapt_console()
    try:
        app(args=arguments, prog_name="njord-ctl")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(Exit.FAILED)
    except CommandError as error:
        print_warning(f"error: {error.reason}")
        return error.status
    except OSError as error:
        print_warning(f"error: {error}")
        return Exit.FAILED
    except Exception as error:
        status = _status_of(error)
        if status is None:
            raise
        print_warning(f"error: {error}")
        return status
    return Exit.DONE


def _status_of(error: Exception) -> Exit | None:
    """The status for an error of this project, by what its reader has to do; None for a defect."""
    from core.errors import ConfigError, FatalError, JournalWriteError, LedgerCorruptError, NjordError

    if isinstance(error, ConfigError | LedgerCorruptError):
        return Exit.BAD
    if isinstance(error, JournalWriteError | FatalError):
        return Exit.FAILED
    return Exit.FAILED if isinstance(error, NjordError) else None
