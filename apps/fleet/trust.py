"""The checks of a finished session: each one runs for real on the files that it wrote, and reports its figures."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal

from apps.fleet.feed_health import FeedHealth, in_words
from apps.fleet.session import APP_LOG, Session, fingerprint, in_folder, run_session
from apps.fleet.tracker import Tracker
from apps.fleet.view import clock
from apps.md_ingest.source import MarketSource
from core.config import Config
from core.contracts import FillEvent
from core.errors import LedgerCorruptError
from core.ledger import ledger

Verdict = Literal["PASS", "FAIL", "SKIP"]
VERIFY_FOLDER: Final = ".second-run"


@dataclass(frozen=True)
class Check:
    """One line of the trust block."""

    name: str
    verdict: Verdict
    detail: str


def data_check(session: Session) -> Check:
    """The input of the session, and whether all of it could be read."""
    offline = session.source.offline
    tally = session.source.ingest.tallies()
    rejected = sum(tally.rejected.values()) + (offline.rejected if offline else 0)
    source = f"sha256 {offline.checksum()[:16]}…" if offline else f"live from {session.source.feed.name}"
    detail = (
        f"{source}, {tally.accepted:,} trades, {_count(tally.duplicates, 'duplicate')} dropped, {rejected} rejected"
    )
    if rejected:
        detail += f"; each is logged in {session.config.json_dir / APP_LOG}"
    if tally.backwards:
        detail += f"; {_count(tally.backwards, 'time')} a trade was older than the one before, ids gave the order"
    return Check("data", "PASS" if not rejected else "FAIL", detail)


def strategy_check(session: Session) -> Check:
    """Whether every configured strategy loaded and none had to be stopped."""
    manager = session.strategies
    wrong = [f"{name} did not load: {why}" for name, why in manager.failures.items()]
    wrong += [
        f"{status.strategy_id} was stopped after {status.stopped}: {status.last_error}"
        for status in manager.status()
        if status.stopped
    ]
    if wrong:
        remedy = f"mend it in its module or config/strategies.yaml; details in {session.config.json_dir / APP_LOG}"
        return Check("strategies", "FAIL", "; ".join([*wrong, remedy]))
    troubled = [
        f"{status.strategy_id}: {status.errors + status.rejected}" for status in manager.status() if status.last_error
    ]
    failed = f", failed calls {', '.join(troubled)}" if troubled else ""
    return Check("strategies", "PASS", f"{len(manager.status())} ran to the end{failed}")


def gap_check(session: Session) -> Check:
    """Whether trades are missing. A hole in a recording is told, it is not the fleet's failure."""
    tally = session.source.ingest.tallies()
    detail = f"{_count(tally.gaps, 'gap')}, {_count(tally.missing, 'trade')} missing"
    return Check("gaps", "PASS" if not tally.gaps else "FAIL", detail)


def feed_check(health: FeedHealth) -> Check:
    """Whether a live feed was connected until the end: what was traded while it was not is nowhere here."""
    name = "feed"
    troubles = [
        f"{in_words(status)}; no trade after {clock(since)} UTC was seen"
        if (since := health.away_since_ns(status.symbol)) is not None
        else f"never live: {in_words(status)}"
        for status in health.troubled
    ]
    if not health.latest:
        return Check(name, "FAIL", "stopped before it was connected")
    if troubles:
        return Check(name, "FAIL", "; ".join(troubles))
    if not health.interruptions:
        return Check(name, "PASS", "connected without interruption")
    return Check(name, "PASS", f"{_count(health.interruptions, 'interruption')}, {health.away_s:.1f} s in all")


def order_book_check(session: Session, tracker: Tracker) -> Check:
    """Whether every symbol has an order book. Without one, strategies that read it see nothing."""
    name = "order books"
    if tracker.book_trouble:
        return Check(name, "FAIL", "; ".join(f"{symbol}: {why}" for symbol, why in tracker.book_trouble.items()))
    absent = [symbol for symbol in session.source.feed.symbols if not tracker.books_of[symbol]]
    if not absent:
        books = tracker.books_of.total()
        return Check(name, "PASS", f"{_count(books, 'book')} of {_count(len(tracker.books_of), 'symbol')}")
    detail = f"none came for {', '.join(absent)}"
    if session.source.offline is None:
        return Check(name, "FAIL", f"{detail}, though the venue was asked for them")
    return Check(name, "SKIP", f"{detail}: the input has none; strategies that read books saw nothing of them")


def ledger_check(config: Config) -> Check:
    """Whether every hash chain holds."""
    try:
        reports = [ledger.verify(path) for path in sorted(config.ledger_dir.glob("*.ndjson"))]
    except LedgerCorruptError as error:
        return Check("ledgers", "FAIL", str(error))
    transactions = sum(report.transactions for report in reports)
    return Check("ledgers", "PASS", f"{len(reports)} hash chains verified, {transactions:,} transactions")


def positions_check(session: Session) -> Check:
    """Whether positions are the sum of fills, and cash moved by price x quantity and fee, to the last decimal."""
    quantities: dict[str, Decimal] = {}
    cash: dict[str, Decimal] = {}
    fills = 0
    for transaction in ledger.read(session.config.ledger_dir / "paper_trader.ndjson"):
        for _, event in transaction.events:
            if isinstance(event, FillEvent):
                fills += 1
                qty, sign = _decimal(event.qty), 1 if event.side == "buy" else -1
                quantities[event.symbol] = quantities.get(event.symbol, Decimal(0)) + sign * qty
                moved = -sign * qty * _decimal(event.price) - _decimal(event.fee)
                cash[event.symbol] = cash.get(event.symbol, Decimal(0)) + moved
    wrong = [
        symbol
        for symbol in quantities
        if _decimal(session.venue.position(symbol).qty) != quantities[symbol]
        or session.venue.position(symbol).cash_exact != cash[symbol]
    ]
    if wrong:
        return Check("positions", "FAIL", f"positions or cash differ from the {fills} fills in {', '.join(wrong)}")
    detail = f"positions and cash equal the sum of {_count(fills, 'fill')} in {_count(len(quantities), 'symbol')}"
    return Check("positions", "PASS", detail)


def repeat_check(
    session: Session, reopen: Callable[[Config], MarketSource] | None, config: Config, folder: Path
) -> Check:
    """Whether a second run of the same input writes the same bytes."""
    name = "same again"
    if reopen is None:
        return Check(name, "SKIP", "a live feed cannot be run twice; replay its journals to check")
    if session.interventions:
        return Check(name, "SKIP", "the kill switch changed during the run, which the input does not tell")
    again = folder / VERIFY_FOLDER
    shutil.rmtree(again, ignore_errors=True)
    moved = in_folder(config, again)
    try:
        first_hash = fingerprint(folder)
        second = Session(moved, reopen(moved), durable=False)
        run_session(second)
        if second.stopped:
            return Check(name, "SKIP", "stopped before the second run was through")
        second_hash = fingerprint(again)
    finally:
        shutil.rmtree(again, ignore_errors=True)
    if first_hash != second_hash:
        return Check(name, "FAIL", f"first run sha256 {first_hash[:16]}…, second run {second_hash[:16]}…")
    return Check(name, "PASS", f"a second run wrote the same bytes, sha256 {first_hash[:16]}…")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _decimal(value: float) -> Decimal:
    return Decimal(repr(value))
