"""The performance figures of a backtest: one call from equity curve and round trips to every metric by name.

``METRICS`` in ``backtest.metrics.table`` lists them; the formulas live in ``returns``, ``drawdown`` and ``trades``.
Every value is a finite float, so that each result is JSON.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backtest.contracts import RoundTrip
from backtest.metrics.measured import columns_of, measured_of
from backtest.metrics.returns import Floats, Ints
from backtest.metrics.table import METRICS
from backtest.metrics.trades import Trades, trades_of

__all__ = ["calculate_metrics", "measure"]


def calculate_metrics(
    equity_curve: Sequence[tuple[int, float]],
    round_trips: Sequence[RoundTrip] | None = None,
    *,
    initial_capital: float | None = None,
    periods_per_year: float = 365,
) -> dict[str, float]:
    """Every metric of ``METRICS`` by name.

    Returns are daily, taken at UTC midnights, and annualised by sqrt(``periods_per_year``): crypto trades every day. A
    curve shorter than two days is judged by its own steps, annualised by their length; ``return_period_s`` says which.

    Defined everywhere: a figure that does not exist (no trades, one point, no variation) is 0; a ratio with gain above
    and nothing below is ``UNBOUNDED``; where capital is zero or less, later returns are 0 and drawdowns may pass 100 %.

    Args:
        equity_curve: (UTC epoch ns, capital in quote currency), in order of time.
        round_trips: those of the run; closed ones count as trades. None: not known, then profits and losses are the
            moves from point to point, and what only trades can tell (number, times, fees) is 0.
        initial_capital: what the run began with; without it, the first point.
        periods_per_year: days of trading in a year.

    Raises:
        ContractError: times that run backwards, or a capital that is no finite number.
    """
    return measure(
        *columns_of(equity_curve),
        None if round_trips is None else trades_of(round_trips),
        initial_capital=initial_capital,
        periods_per_year=periods_per_year,
    )


def measure(
    ts_ns: Ints,
    equity: Floats,
    trades: Trades | None = None,
    *,
    initial_capital: float | None = None,
    periods_per_year: float = 365,
) -> dict[str, float]:
    """``calculate_metrics`` on columns."""
    measured = measured_of(ts_ns, equity, trades, initial_capital=initial_capital, periods_per_year=periods_per_year)
    with np.errstate(all="ignore"):  # amounts near the limits of a float overflow: made finite below
        values = {metric.name: float(metric.of(measured)) for metric in METRICS}
    return {name: value if abs(value) < np.inf else 0.0 for name, value in values.items()}
