"""``njord-ctl ledger``: verify ledgers by their hash chain and print them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.options import AsJson, Root
from controller.terminal import (
    Exit,
    fail,
    iso_time,
    print_folded,
    print_json,
    print_line,
    print_passing,
    print_table,
    print_warning,
)

if TYPE_CHECKING:
    from core.ledger import Transaction

ledger = typer.Typer(help="Verify and read the ledgers of the daemons.", no_args_is_help=True)

_SHOWN_HASH = 16  # characters of a hash that tell two apart at a glance


@ledger.command()
def verify(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Ledger files.")], as_json: AsJson = False
) -> None:
    """Check every line and the whole hash chain. Exits with 4 when any of the ledgers is broken."""
    from core.errors import LedgerCorruptError
    from core.ledger import verify as verify_chain

    answers: list[dict[str, Any]] = []
    for path in _existing(paths):
        try:
            report = verify_chain(path)
        except LedgerCorruptError as error:
            answers.append({"path": str(path), "ok": False, "line": error.line, "error": str(error)})
            continue
        answers.append(
            {
                "path": str(path),
                "ok": True,
                "transactions": report.transactions,
                "events": report.events,
                "last_hash": report.last_hash,
                "torn_bytes": report.torn_bytes,
            }
        )
    if as_json:
        print_json(answers)
    else:
        _print_verdicts(answers)
    if not all(answer["ok"] for answer in answers):
        raise typer.Exit(Exit.BAD)


@ledger.command()
def show(
    path: Annotated[Path, typer.Argument(help="A ledger file.")],
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Only the last N transactions; 0 is all.")] = 20,
    answered: Annotated[bool, typer.Option("--answered", help="Leave out those that answered nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print transactions: when, what caused them, what was answered and on which numbers.

    JSON has every field, one transaction a line.
    """
    from core.ledger import read

    (existing,) = _existing([path])
    transactions: Iterable[Transaction] = read(existing)
    if answered:
        transactions = (transaction for transaction in transactions if transaction.events)
    if last:
        transactions = deque(transactions, maxlen=last)
    for transaction in transactions:
        if as_json:
            print_json(_values(transaction))
        else:
            _print_transaction(transaction)


@ledger.command()
def state(
    daemons: Annotated[list[str] | None, typer.Argument(metavar="DAEMON…", help="Which; all when left out.")] = None,
    ledger_dir: Annotated[Path | None, typer.Option(help="Where the ledgers are.  [default: app.ledger_dir]")] = None,
    root: Root = Path(),
    as_json: AsJson = False,
) -> None:
    """Print the state of each daemon: positions, orders, restrictions, the day's loss, what waits for it.

    Folds the ledgers as the daemons do when they start, and only reads: beside a running fleet as well as on a copy.
    Exits with 4 when a chain is broken or ledgers do not fit together, with 3 when one cannot be folded.
    """
    from controller.ledger.formatting import as_plain, print_state
    from controller.ledger.state import SPECS, ledger_path, look
    from core.config import load_config

    config = load_config(root)
    folder = config.ledger_dir if ledger_dir is None else ledger_dir
    unknown = [name for name in daemons or () if name not in SPECS]
    if unknown:
        fail(Exit.USAGE, f"{', '.join(unknown)}: expected daemons that keep a ledger: {', '.join(SPECS)}")
    names = list(dict.fromkeys(daemons or [name for name in SPECS if ledger_path(folder, name).is_file()]))
    if not names:
        fail(
            Exit.USAGE, f"no ledgers in {folder}; those of `make run` are in var/runs/…/ledgers: name it, --ledger-dir"
        )
    _existing([ledger_path(folder, name) for name in names])
    fleet = look(config, folder, names, _print_reading)
    print_passing()
    if as_json:
        print_json(as_plain(fleet))
    else:
        print_state(fleet, folder)
    for problem in fleet.problems:
        print_warning(f"look into this first: {problem}")
    if fleet.problems:
        raise typer.Exit(Exit.BAD)
    if fleet.unknown:
        raise typer.Exit(Exit.PARTLY)


def _print_reading(path: Path) -> None:
    print_passing(f"reading {path}, {path.stat().st_size / 2**20:,.0f} MiB …")


def _existing(paths: list[Path]) -> list[Path]:
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        fail(Exit.USAGE, f"no such ledger: {', '.join(missing)}; daemons keep theirs in app.ledger_dir, var/ledger")
    return paths


def _print_verdicts(answers: list[dict[str, Any]]) -> None:
    sound = [answer for answer in answers if answer["ok"]]
    if sound:
        print_table(
            ("ledger", "transactions", "events", "last hash"),
            [(a["path"], str(a["transactions"]), str(a["events"]), a["last_hash"][:_SHOWN_HASH]) for a in sound],
        )
    for answer in sound:
        if answer["torn_bytes"]:
            print_line(
                f"{answer['path']}: {answer['torn_bytes']} bytes behind the last transaction are not counted: a crash "
                "cut a write short before anybody saw it. The daemon repairs that when it starts."
            )
    for answer in answers:
        if not answer["ok"]:
            print_warning(f"broken: {answer['error']}")


def _values(transaction: Transaction) -> dict[str, Any]:
    cause: dict[str, Any] = {"stream": transaction.cause.stream, "id": transaction.cause.id}
    if transaction.cause.event is not None:
        cause |= {"topic": transaction.cause.topic, "event": transaction.cause.event.to_dict()}
    return {
        "seq": transaction.seq,
        "ts_ns": transaction.ts_ns,
        "cause": cause,
        "events": [{"topic": topic, "event": event.to_dict()} for topic, event in transaction.events],
        "note": transaction.note,
        "hash": transaction.hash,
    }


def _print_transaction(transaction: Transaction) -> None:
    from controller.event_formatting import event_line, grounds

    cause = transaction.cause
    caused = f"{cause.stream} {cause.id}"
    if cause.event is not None:
        caused += f"  {cause.topic}  {event_line(cause.event)}"
    print_folded(f"#{transaction.seq}  {iso_time(transaction.ts_ns)}  <- {caused}", indent=4)
    if transaction.note:
        print_folded(f"    not processed: {transaction.note}", indent=8)
    for topic, event in transaction.events:
        print_folded(f"    {topic}  {event_line(event)}", indent=8)
        for title, text in grounds(event):
            print_folded(f"        {title}  {text}", indent=12)
