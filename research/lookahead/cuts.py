"""The choice of cuts: the few of thousands that are most likely to show a look into the future."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.errors import ContractError
from research.lookahead.decisions import Ints


def chosen_cuts(times: Ints, decided: Sequence[int], most: int) -> list[int]:
    """The times to cut at: half of them right at decisions, the others beside some of them, and all over the data.

    Spread evenly over the decisions, so that both ends are among them; a few early cuts in powers of two, as they leave
    out most of the sample that a statistic over all of it was made of.

    Args:
        times: of the rows, ascending.
        decided: times of decisions, ascending.
        most: how many cuts at the most.

    Raises:
        ContractError: fewer than one cut.
    """
    if most < 1:
        raise ContractError(f"most_cuts: expected at least 1, got {most}")
    last = len(times) - 2  # a cut after the last row cuts nothing
    if last < 0:
        return []
    rows = np.unique(np.searchsorted(times, np.asarray(decided, dtype=np.int64), side="right") - 1)
    rows = rows[(rows >= 0) & (rows <= last)]
    beside = np.clip(np.concatenate([rows - 1, rows + 1]), 0, last)
    powers = [last >> power for power in range(1, 6)]
    picked: dict[int, None] = {}
    for candidates, share in (
        (rows, most - most // 2),
        (beside[~np.isin(beside, rows)], most // 8),
        (np.array(powers), most // 8),
        (np.arange(last + 1), most),
    ):
        new = candidates[~np.isin(candidates, list(picked))]
        picked.update(dict.fromkeys(spread(new, min(share, most - len(picked)))))
    return sorted(int(times[row]) for row in picked)


def spread(rows: Ints, most: int) -> list[int]:
    """So many of the rows, first and last among them."""
    rows = np.unique(rows)
    if most <= 0 or not len(rows):
        return []
    picked: list[int] = rows[
        np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int))
    ].tolist()
    return picked
