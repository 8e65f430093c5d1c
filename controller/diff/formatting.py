"""The comparison of two runs as text: one line when they are equal, otherwise tables that fit the terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from backtest.parity.compare import Comparison, Difference, Kind, Volume
from backtest.parity.money import MARK
from controller.terminal import aligned, iso_time, print_folded, print_heading, print_line

_CENT: Final = Decimal("0.005")
_DAY: Final = 10  # characters of a date
_HEAD: Final = ("  time", "class", "strategy", "symbol", "what", "A", "B", "money")
_MEANING: Final = {
    Kind.SIGNAL.value: "an intent on one side only, or another one",
    Kind.DECISION.value: "allowed on one side, denied on the other",
    Kind.TIMING.value: "the same at another time or in another order",
    Kind.FILL.value: "other prices, quantities or counts of fills",
    Kind.FEE.value: "another fee on the same fills",
    MARK: "what the market did to open positions since",
}


def print_comparison(comparison: Comparison, limit: int, notes: Sequence[str] = ()) -> None:
    """Print the verdict, both runs, their other settings (``notes``), the parts of the difference in money, and the
    differences."""
    alike = comparison.volume_a == comparison.volume_b
    verdict = "no differences" if comparison.equal else f"{_count(len(comparison.differences), 'difference')}"
    print_heading("diff", verdict, alarming=not comparison.equal)
    for letter, name, volume, pnl in (
        ("A", comparison.a, comparison.volume_a, comparison.pnl_a),
        ("B", comparison.b, comparison.volume_b, comparison.pnl_b),
    ):
        print_folded(f"  {letter}  {name}: {_volume(volume)}; profit and loss {_amounts(pnl)}", 5)
    for note in notes:
        print_folded(f"  note: {note}", 8)
    if comparison.equal:
        volumes = _volume(comparison.volume_a), _volume(comparison.volume_b)  # a result keeps no denied intents
        compared = volumes[0] if alike else f"{volumes[0]} of A with {volumes[1]} of B"
        print_folded(f"  compared {compared}: equal, and so is profit and loss to the last decimal", 5)
    else:
        _print_parts(comparison)
        _print_differences(comparison.differences, limit)
    for remark in comparison.remarks:
        print_folded(f"  note: {remark}", 8)


def _print_parts(comparison: Comparison) -> None:
    currencies = list(comparison.parts)
    rows = [
        [
            f"  {part}",
            str(comparison.counts.get(part, "")),
            *(_amount(comparison.parts[c][part]) for c in currencies),
            meaning,
        ]
        for part, meaning in _MEANING.items()
    ]
    total = [_amount(sum(comparison.parts[c].values(), Decimal(0))) for c in currencies]
    rows.append(["  B less A", str(len(comparison.differences)), *total, "the sum of the above, exactly"])
    print_line("")
    for line in aligned(["  class", "count", *currencies, ""], rows, right=range(1, 2 + len(currencies))):
        print_line(line)


def _print_differences(differences: Sequence[Difference], limit: int) -> None:
    if not differences:
        return
    shown = differences[: limit or None]
    days = {iso_time(difference.ts_ns)[:_DAY] for difference in shown}
    start = _DAY + 1 if len(days) == 1 else 0
    print_line("")
    print_line(
        f"  {'on ' + days.pop() + ', ' if start else ''}times in UTC; later differences may follow from earlier ones"
    )
    rows = [
        [
            f"  {iso_time(difference.ts_ns)[start:23]}",
            difference.kind.value,
            difference.strategy_id or "all",
            difference.symbol,
            difference.subject,
            difference.a,
            difference.b,
            _amount(difference.pnl),
        ]
        for difference in shown
    ]
    lines = aligned(_HEAD, rows, right=(7,))
    folded = sys.stdout.isatty() and max(map(len, lines)) > shutil.get_terminal_size().columns
    if folded:
        lines = aligned([*_HEAD[:4], _HEAD[7]], [[*row[:4], row[7]] for row in rows], right=(4,))
    print_line(lines[0])
    for line, row, difference in zip(lines[1:], rows, shown, strict=True):
        print_line(line)
        if folded:
            print_folded(f"      {row[4]}: {row[5]} → {row[6]}", 8)
        if difference.detail:
            print_folded(f"      {'on ' if difference.kind is Kind.DECISION else ''}{difference.detail}", 9)
    if len(differences) > len(shown):
        print_line(f"  … and {len(differences) - len(shown):,} more: --limit 0 shows all, --json every field")


def _volume(volume: Volume) -> str:
    return (
        f"{_count(volume.intents, 'intent')} ({volume.allowed:,} allowed, {volume.denied:,} denied), "
        f"{_count(volume.fills, 'fill')}"
    )


def _amounts(amounts: Mapping[str, Decimal]) -> str:
    texts = [f"{amount:+,f} {currency}" for currency, amount in sorted(amounts.items())]
    return ", ".join(texts) or "none"


def _amount(amount: Decimal) -> str:
    """To the cent; an amount below half a cent to its last digit."""
    return f"{amount:+,.2f}" if abs(amount) >= _CENT else f"{amount.normalize():+f}" if amount else "0"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
