"""The fleet's state on a screen, the verdict first: one block a daemon, what matters in it from top to bottom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from controller.event_formatting import number
from controller.ledger.holdings import Day, Folded, Holding, Order
from controller.ledger.state import Consumed, DaemonState, FleetState, SnapshotCheck
from controller.terminal import aligned, iso_time, print_folded, print_heading, print_line
from core.entries import NO_ENTRY, entry_text

_LABEL: Final = 13  # columns in front of what a line says
_SHOWN_HASH: Final = 16
_SHOWN_ORDERS: Final = 12
_ALARMING: Final = ("HALTED", "REDUCING")


def print_state(fleet: FleetState, folder: Path) -> None:
    """Print the state of the fleet."""
    print_folded(_verdict(fleet, folder), indent=2)
    for state in fleet.daemons:
        print_line("")
        trading = "" if state.folded is None else state.folded.trading
        print_heading(state.name, trading, alarming=trading in _ALARMING)
        for label, text in _lines(state):
            print_folded(f"  {label:<{_LABEL - 2}}{text}", indent=_LABEL)
        if state.folded is not None and state.folded.positions:
            print_line("  positions")
            for row in _positions(state.folded.positions):
                print_line(f"    {row}")


def as_plain(fleet: FleetState) -> dict[str, Any]:
    """The state of the fleet as JSON values."""
    return {
        "ok": not fleet.problems and not fleet.unknown,
        "problems": list(fleet.problems),
        "daemons": {state.name: _values(state) for state in fleet.daemons},
    }


def _values(state: DaemonState) -> dict[str, Any]:
    chain = state.chain
    return {
        "path": str(chain.path),
        "chain_holds": state.sound,
        "error": state.error,
        "transactions": chain.transactions,
        "events": chain.events,
        "set_aside": chain.set_aside,
        "first_ns": chain.first_ns,
        "last_ns": chain.last_ns,
        "last_hash": chain.last_hash,
        "identity": chain.identity,
        "torn_bytes": state.torn_bytes,
        "snapshot": None if state.snapshot is None else asdict(state.snapshot),
        "consumed": [{**asdict(upstream), "entry": entry_text(upstream.entry)} for upstream in state.consumed],
        "state": None if state.folded is None else asdict(state.folded),
    }


def _verdict(fleet: FleetState, folder: Path) -> str:
    sound = sum(state.sound for state in fleet.daemons)
    count = len(fleet.daemons)
    verdict = "every chain holds" if sound == count else f"{count - sound} of {count} chains BROKEN"
    waiting = sum(upstream.waiting or 0 for state in fleet.daemons for upstream in state.consumed)
    under_way = f"{_count(waiting, 'message')} under way" if waiting else "nothing under way"
    end = "; risk engine and venue hold the same positions" if fleet.positions_equal else ""
    if fleet.problems:
        end = f"; {_count(len(fleet.problems), 'problem')}, see below"
    return f"{_count(count, 'ledger')} in {folder}: {verdict}, {under_way}{end}"


def _lines(state: DaemonState) -> Iterator[tuple[str, str]]:
    chain = state.chain
    if not state.sound:
        yield "ledger", f"BROKEN behind transaction {chain.transactions:,}; nothing below is known"
        return
    yield "ledger", f"{_count(chain.transactions, 'transaction')}, {_count(chain.events, 'event')}; the chain holds"
    if chain.transactions:
        yield "", f"last hash {chain.last_hash[:_SHOWN_HASH]}, ledger {chain.identity}"
        yield "from", f"{iso_time(chain.first_ns)} to {iso_time(chain.last_ns)}"
    if chain.set_aside:
        yield "set aside", f"{_count(chain.set_aside, 'message')} that could not be processed: ledger show has why"
    if state.torn_bytes:
        yield "torn", f"{state.torn_bytes} bytes at the end that nobody has seen; a start moves them aside"
    yield "snapshot", _snapshot(state.snapshot)
    yield from _labelled("consumed", [_consumed(upstream) for upstream in state.consumed])
    if state.folded is None:
        yield "state", f"UNKNOWN: {state.error}"
    else:
        yield from _folded(state.folded)


def _folded(folded: Folded) -> Iterator[tuple[str, str]]:
    reasons = [" ".join(part for part in restriction.values() if part) for restriction in folded.restrictions]
    yield from _labelled("because", reasons)
    if folded.day is not None:
        yield "day", _day(folded.day)
    yield "remembers", ", ".join(f"{count:,} {kind}" for kind, count in folded.remembered.items())
    yield from _labelled("orders", _orders(folded.orders) or ["none open"])
    if not folded.positions:
        yield "positions", "never traded"


def _labelled(label: str, lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        yield label, line
        label = ""


def _snapshot(check: SnapshotCheck | None) -> str:
    if check is None:
        return "none; a start reads the whole ledger"
    if not check.seq:
        return "not usable; a start reads the whole ledger"
    verdict = {True: "agrees with the ledger", False: "DISAGREES with the ledger", None: "not compared"}[check.agrees]
    return f"behind transaction {check.seq:,}, {verdict}"


def _consumed(upstream: Consumed) -> str:
    upto = f"up to {entry_text(upstream.entry)}" if upstream.entry > NO_ENTRY else "nothing yet"
    if upstream.waiting is None:
        return f"{upstream.producer} {upto}, what waits is unknown without its ledger"
    return f"{upstream.producer} {upto}, {f'{upstream.waiting:,} more wait' if upstream.waiting else 'nothing waits'}"


def _day(day: Day) -> str:
    result = f"{'profit' if day.pnl_usd >= 0 else 'loss'} {number(round(abs(day.pnl_usd), 2))} USD at recorded prices"
    return f"{day.date}: {result}, cap {number(day.loss_cap_usd)}"


def _orders(orders: Sequence[Order]) -> list[str]:
    shown = [_order(order) for order in orders[:_SHOWN_ORDERS]]
    more = len(orders) - len(shown)
    return [*shown, f"… and {more:,} more; --json has all"] if more > 0 else shown


def _order(order: Order) -> str:
    limit = "" if order.limit_price is None else f" at {number(order.limit_price)}"
    remaining = "" if order.left_qty == order.qty else f", {number(order.left_qty)} left"
    owner = f" for {order.strategy_id}" if order.strategy_id else ""
    note = f", {order.note}" if order.note else ""
    return f"{order.side} {number(order.qty)} {order.symbol}{limit}{remaining}{note}{owner}  {order.order_id}"


def _positions(positions: Sequence[Holding]) -> list[str]:
    named = any(holding.strategy_id for holding in positions)
    head = (*(("strategy",) if named else ()), "symbol", "quantity", "avg price", "realised", "fees")
    rows = [(*((holding.strategy_id,) if named else ()), *_holding(holding)) for holding in positions]
    return aligned(head, rows, right=range(len(head) - 4, len(head)))


def _holding(holding: Holding) -> tuple[str, ...]:
    quantity = number(holding.qty) if holding.qty else "flat"
    price = f"{holding.avg_price:,.2f}" if holding.avg_price >= 1 else number(holding.avg_price)
    return (
        holding.symbol,
        quantity,
        price if holding.qty else "",
        f"{holding.realized_pnl:,.2f}",
        f"{holding.fees_paid:,.2f}",
    )


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
