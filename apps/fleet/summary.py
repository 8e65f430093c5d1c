"""The last screen of a session: its result in a line, its checks, the place of its journals and the next steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from apps.fleet.session import Session
from apps.fleet.tracker import Tracker
from apps.fleet.trust import Check
from apps.fleet.view import money, profit
from execution.account import AccountSummary

NO_ACCOUNT: Final = AccountSummary("", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
_VERDICT_STYLE: Final = {"PASS": "bold green", "FAIL": "bold red", "SKIP": "yellow"}


@dataclass(frozen=True)
class Outcome:
    """A finished session with its checks."""

    session: Session
    tracker: Tracker
    folder: Path
    checks: tuple[Check, ...]


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome for scripts."""
    session, counts = outcome.session, outcome.tracker.counts
    progress, fills = session.progress, _fills_by_currency(outcome)
    accounts = [account_as_json(account, fills[account.currency]) for account in session.accounts]
    single = accounts[0] if len(accounts) == 1 else dict.fromkeys(account_as_json(NO_ACCOUNT, 0))
    return {
        "feed": session.source.feed.name,
        "stopped": session.stopped,
        "events": progress.events,
        "messages": progress.messages,
        "elapsed_s": round(progress.elapsed_s, 3),
        "intents": counts["OrderIntent"],
        "allowed": counts["allowed"],
        "denied": {name.removeprefix("denied "): n for name, n in sorted(counts.items()) if name.startswith("denied ")},
        "fills": counts["FillEvent"],
        **{name: value for name, value in single.items() if name != "fills"},  # null where there are several currencies
        "accounts": accounts,
        "kill_switch": {"tripped_by": session.kill_switch, "changes": session.interventions},
        "feed_counters": dict(session.source.counters()),
        "journals": str(outcome.folder / "journals"),
        "ledgers": str(outcome.folder / "ledgers"),
        "checks": [{"name": c.name, "verdict": c.verdict, "detail": c.detail} for c in outcome.checks],
    }


def account_as_json(account: AccountSummary, fills: int) -> dict[str, Any]:
    """The money in one currency for scripts."""
    return {
        "currency": account.currency,
        "pnl": round(profit(account), 8),
        "realized_pnl": account.realized_pnl,
        "unrealized_pnl": account.unrealized_pnl,
        "fees": account.fees_paid,
        "equity": account.equity,
        "fills": fills,
    }


def print_outcome(outcome: Outcome, console: Console) -> None:
    """One screen."""
    console.print()
    console.print(_result(outcome), soft_wrap=not console.is_terminal)
    for line in _incidents(outcome):
        console.print(line, soft_wrap=not console.is_terminal)
    console.print()
    _print_checks(outcome.checks, console)
    console.print()
    console.print(f"  journals  {outcome.folder / 'journals'}", soft_wrap=True, highlight=False)
    console.print(f"  ledgers   {outcome.folder / 'ledgers'}", soft_wrap=True, highlight=False)
    console.print()
    console.print("  Try next", style="bold")
    for command, why in _next_steps(outcome):
        console.print(Text.assemble("    ", (command, "cyan")), soft_wrap=True)
        console.print(Text(f"        {why}", style="dim"))
    console.print()


def _print_checks(checks: Sequence[Check], console: Console) -> None:
    """A table on a terminal, which folds what is too long; a line each for a file or pipe."""
    if console.is_terminal:
        block = Table.grid(padding=(0, 2))
        for check in checks:
            verdict = Text(check.verdict, style=_VERDICT_STYLE[check.verdict])
            block.add_row("  ", verdict, check.name, Text(check.detail))
        console.print(block)
        return
    width = max(len(check.name) for check in checks)
    for check in checks:
        console.print(Text(f"    {check.verdict}  {check.name:{width}}  {check.detail}"), soft_wrap=True)


def _result(outcome: Outcome) -> Text:
    session, counts = outcome.session, outcome.tracker.counts
    progress, fills = session.progress, _fills_by_currency(outcome)
    rate = progress.events / progress.elapsed_s if progress.elapsed_s else 0.0
    result = Text.assemble(("Stopped. " if session.stopped else "Done. ", "bold"))
    for account in session.accounts:
        result.append_text(money(profit(account), account.currency))
        result.append(f" {account.currency} after fees from {fills[account.currency]:,} fills; ")
    return result.append(
        f"{counts['OrderIntent']:,} intents, {counts['allowed']:,} allowed, {counts['denied']:,} denied; "
        f"{progress.events:,} market events in {progress.elapsed_s:.1f} s ({rate:,.0f}/s)."
    )


def _fills_by_currency(outcome: Outcome) -> Counter[str]:
    """The number of fills in each quote currency."""
    instruments = outcome.session.config.instruments_table()
    counts: Counter[str] = Counter()
    for symbol, fills in outcome.tracker.fills_of.items():
        counts[instruments[symbol].quote] += fills
    return counts


def _incidents(outcome: Outcome) -> list[Text]:
    """A line for everything that a run without incidents does not have."""
    session = outcome.session
    lines: list[Text] = []
    if session.kill_switch:
        lines.append(Text(f"  The kill switch is tripped by {session.kill_switch}: nothing is traded.", "bold red"))
    elif session.interventions:
        lines.append(Text(f"  The kill switch changed {session.interventions} times; it is clear now.", "yellow"))
    counts = {name: count for name, count in session.source.counters().items() if count and name != "trades"}
    if counts:
        counted = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items())
        lines.append(Text(f"  The feed counted: {counted}.", "yellow"))
    return lines


def _next_steps(outcome: Outcome) -> list[tuple[str, str]]:
    ledger = outcome.folder / "ledgers" / "risk_engine.ndjson"
    show = f".venv/bin/njord-ctl ledger show --answered {ledger}"
    steps = [(show, "the latest decisions with the numbers they were taken on")]
    if outcome.session.source.offline is not None and outcome.session.source.feed.name.startswith("synthetic"):
        steps.append(("make run FEED=synthetic:7", "another market from another seed"))
        steps.append(("make run VENUE=binanceus SYMBOL=BTC/USDT", "live prices, paper money"))
    else:
        recorded = outcome.folder / "journals" / "md.trades.*.ndjson"
        steps.append((f"make run FEED='{recorded}'", "the same market again, from what was recorded"))
        steps.append(("make run", "a synthetic market, without any data"))
    return steps
