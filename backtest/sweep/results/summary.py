"""The summary of a sweep: the best sets with the median of their neighbours, and what to be careful of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from backtest.metrics.formatting import counted, number
from backtest.summary import FILL_TIMING
from backtest.sweep.space.neighbours import edges, heat_map, neighbours_median

if TYPE_CHECKING:
    import pandas as pd

    from backtest.sweep.results.outcome import SweepOutcome

_FEW_TRADES: Final = 30
_LONELY: Final = 0.5  # of a good best value: its neighbours should reach this much
_LUCK: Final = 0.95  # below this confidence, luck explains a deflated Sharpe ratio
_OVERFIT: Final = 0.5  # what choosing among worthless sets gives
_ROWS: Final = 1_000  # written at a time
_WIDEST: Final = 14  # characters of a parameter's column
NEIGHBOURS: Final = "neighbours_median"
_SHOWN: Final = {
    "sharpe_ratio": "Sharpe", "total_return_pct": "Return %", "num_trades": "Trades", "max_drawdown_pct": "Drawdown %",
    "win_rate": "Win rate", "profit_factor": "Profit f.",
}  # fmt: skip
"""Metrics of the table by heading; the last ones are left out where the terminal is narrow."""


def best_rows(outcome: SweepOutcome, count: int) -> list[dict[str, Any]]:
    """The best sets as plain JSON values, with the median of their neighbours."""
    table = outcome.table
    rows = table[table["error"] == ""].head(count)
    medians = neighbours_median(table, outcome.names, outcome.objective, list(range(len(rows))))
    return [{**row, NEIGHBOURS: median} for row, median in zip(_records(rows), medians, strict=True)]


def plain_of(outcome: SweepOutcome, count: int) -> dict[str, Any]:
    """The summary as plain JSON values."""
    odds, best = outcome.overfitting, best_rows(outcome, count)
    return {
        "strategy_id": outcome.config.strategy_id,
        "symbol": outcome.config.symbol,
        "objective": outcome.objective,
        "direction": "maximize" if outcome.maximize else "minimize",
        "engine": "compiled" if outcome.compiled else "event",
        "config": outcome.config.to_dict(),
        "data": {"checksum": outcome.data, "start_ts": outcome.span[0], "end_ts": outcome.span[1]},
        "parameters": outcome.space.to_dict()["axes"],
        "sets": len(outcome.table),
        "failed": failed(outcome),
        "trials_ever": outcome.trials,
        "best": best,
        "overfitting": odds and {
            "pbo": odds.pbo,
            "probability_of_loss": odds.probability_of_loss,
            "degradation_slope": odds.degradation_slope,
            "trials": odds.trials,
            "blocks": odds.blocks,
        },
        "heat_map": heat_map(outcome.table, outcome.names, outcome.objective, maximize=outcome.maximize),
        "warnings": list(cautions(outcome, best[0])),
        "notes": list(outcome.notes),
        "files": {name: str(path) for name, path in outcome.files.items()},
    }  # fmt: skip


def write_json(outcome: SweepOutcome, path: Path, count: int = 10) -> None:
    """The summary, with the times of the kept returns, and every row, a part of the table at a time."""
    encode = msgspec.json.encode
    summary = {**plain_of(outcome, count), "ends_ns": None if outcome.ends_ns is None else outcome.ends_ns.tolist()}
    with path.open("wb") as file:
        file.write(b'{"summary":' + encode(summary) + b',"results":[')
        for first in range(0, len(outcome.table), _ROWS):
            rows = _records(outcome.table.iloc[first : first + _ROWS])
            file.write((b",\n" if first else b"\n") + b",\n".join(map(encode, rows)))
        file.write(b"\n]}\n")


def failed(outcome: SweepOutcome) -> int:
    """How many sets raised."""
    return int((outcome.table["error"] != "").sum())


def cautions(outcome: SweepOutcome, best: dict[str, Any]) -> Iterator[str]:
    """What a reader must know before believing the best set."""
    for name in edges(outcome.space.axes, best):
        yield f"The best {name} ({best[name]}) is at the edge of what was tried: look beyond it."
    trades = best.get("num_trades")
    if trades is not None and trades < _FEW_TRADES:
        yield f"The best set made only {trades} trades: chance explains a lot."
    value, median = best[outcome.objective], best[NEIGHBOURS]
    if median is not None and outcome.maximize and value > 0 and median < _LONELY * value:
        yield f"Its neighbours reach {number(median)} (median) where it has {number(value)}: it stands alone."
    deflated = best.get("deflated_sharpe")
    if best.get("total_return_pct", 0.0) < 0:
        yield "Even the best set lost money."
    elif deflated is not None and deflated < _LUCK:
        yield (
            f"After {outcome.trials:,} trials on this data, the confidence that the best set has an edge is "
            f"{100 * deflated:.0f}%: luck explains it."
        )
    if outcome.overfitting is not None and outcome.overfitting.pbo >= _OVERFIT:
        yield "What is best in one half of the time is no better than the median in the other: overfitted."
    count = failed(outcome)
    if count:
        first = outcome.table.loc[outcome.table["error"] != "", "error"].iloc[0]
        yield f"{counted(count, 'set')} failed, see the column error; the first: {first}"
    if outcome.config.fill_timing.value == "bar_close":
        yield "Fills at the close of the deciding bar are kind; compare with --fill next_open."


def summary_lines(outcome: SweepOutcome, count: int, width: int) -> list[str]:
    """The sweep as lines for a terminal of that many columns."""
    best, sets, odds = best_rows(outcome, count), len(outcome.table), outcome.overfitting
    engine = "compiled" if outcome.compiled else "event"
    lines = [
        f"Parameter Sweep: {outcome.config.strategy_id} on {', '.join(outcome.config.traded)}",
        "-" * 45,
        f"Sets:           {sets:,} ({engine} engine)" + (f", {failed(outcome):,} failed" if failed(outcome) else ""),
        f"Best by:        {outcome.objective}, {'largest' if outcome.maximize else 'smallest'} first",
        f"Fills:          {FILL_TIMING[outcome.config.fill_timing]}",
        f"Trials ever:    {outcome.trials:,} on this data",
    ]
    deflated = best[0].get("deflated_sharpe")
    if deflated is not None:
        lines.append(f"Deflated:       {100 * deflated:.1f}% confidence that the best set has an edge")
    if odds is not None:
        lines.append(
            f"Overfitting:    {100 * odds.pbo:.1f}% probability (PBO, {odds.blocks} blocks); what one half chooses "
            f"loses in the other in {100 * odds.probability_of_loss:.1f}%"
        )
    lines += ["", *_table(outcome, best, width), ""]
    lines += [f"Note:    {note}" for note in outcome.notes]
    lines += [f"Warning: {text}" for text in cautions(outcome, best[0])]
    return lines


def print_summary(outcome: SweepOutcome, count: int) -> None:
    """On stdout."""
    print("\n".join(summary_lines(outcome, count, shutil.get_terminal_size((120, 24)).columns)))
    names = {"csv": "Results", "json": "Summary"}
    print()
    for name, path in outcome.files.items():
        print(f"{names.get(name, name.capitalize()) + ' saved to:':<21}{path}")


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    names = list(map(str, rows.columns))
    columns = (_without_gaps(rows[name]) for name in rows.columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _without_gaps(column: pd.Series[Any]) -> list[Any]:
    """As Python's own values, None for missing ones."""
    if not column.hasnans:
        return column.tolist()
    return [None if gap else value for value, gap in zip(column.tolist(), column.isna(), strict=True)]


def _table(outcome: SweepOutcome, best: list[dict[str, Any]], width: int) -> list[str]:
    shown = dict(_SHOWN)
    objective = {outcome.objective: shown.pop(outcome.objective, outcome.objective)}
    headings = {**{name: name for name in outcome.names}, **objective, NEIGHBOURS: "Neighbours", **shown}
    columns = {
        heading: [heading, *(_cell(row[name], short=name not in outcome.names) for row in best)]
        for name, heading in headings.items()
        if best and name in best[0]
    }
    while len(columns) > len(outcome.names) + 2 and sum(max(map(len, c)) + 2 for c in columns.values()) > width + 2:
        columns.popitem()
    rows = zip(*([text.rjust(max(map(len, cells))) for text in cells] for cells in columns.values()), strict=True)
    return ["  ".join(row) for row in rows]


def _cell(value: Any, *, short: bool) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return number(value) if short else f"{value:.6g}"
    return str(value)[:_WIDEST]
