"""vectorbt with its Rust engine: signals of all bars at once, a portfolio from signals, fills at the close.

A sweep goes in blocks of ``block`` sets, so that not all columns are in memory at once, in ``workers`` processes.
"""

from __future__ import annotations

import gc
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from benchmarks.peers.protocol import CAPITAL, COMMISSION, Answer, Bars, Job, serve


def make(bars: Bars, job: Job) -> Vectorbt:
    """The closes as a series with times."""
    import pandas as pd

    index = pd.to_datetime(bars.ts_close)
    return Vectorbt(*(pd.Series(column, index=index) for column in (bars.open, bars.close)))


class Vectorbt:
    """One run with statistics, or a sweep where the job has ``sets``."""

    def __init__(self, opens: Any, closes: Any) -> None:
        self._opens = opens
        self._closes = closes

    def arrange(self, job: Job) -> Job:
        """Nothing to make."""
        return job

    def run(self, arranged: Job) -> Any:
        """From closes to trades and equity, or to a metric per set and column."""
        if "sets" not in arranged:
            portfolio = self._portfolio(arranged["fast"], arranged["slow"], late=arranged["timing"] == "open")
            return portfolio, measured(portfolio, full=True)
        sets, size = arranged["sets"], arranged["block"]
        blocks = [sets[at : at + size] for at in range(0, len(sets), size)]
        full = [arranged["full"]] * len(blocks)
        if arranged["workers"] == 1:
            return list(map(self.block, blocks, full))
        with ProcessPoolExecutor(arranged["workers"]) as pool:
            return list(pool.map(self.block, blocks, full))

    def block(self, sets: list[tuple[int, int]], full: bool) -> dict[str, list[float]]:
        """The metrics of some sets; each different average is computed once."""
        portfolio = self._portfolio([fast for fast, _ in sets], [slow for _, slow in sets], late=False)
        columns = {name: column.tolist() for name, column in measured(portfolio, full=full).items()}
        del portfolio
        gc.collect()  # what it caches refers to itself, and would stay until the collector comes by
        return columns

    def read(self, result: Any) -> Answer:
        """The closed trades and the last value."""
        if isinstance(result, list):
            finals = [final for block in result for final in block["final_value"]]
            return {"sets": len(finals), "finals": finals}
        portfolio, _ = result
        return {"trips": int(portfolio.trades.closed.count()), "final": float(portfolio.final_value())}

    def _portfolio(self, fasts: int | list[int], slows: int | list[int], *, late: bool) -> Any:
        import vectorbt as vbt  # type: ignore[import-not-found]  # a peer's environment

        quick = vbt.MA.run(self._closes, fasts, run_unique=True, short_name="quick")
        calm = vbt.MA.run(self._closes, slows, run_unique=True, short_name="calm")
        entries, exits = quick.ma_crossed_above(calm), quick.ma_crossed_below(calm)
        if late:
            entries, exits = entries.vbt.fshift(1), exits.vbt.fshift(1)
        return vbt.Portfolio.from_signals(
            self._closes, entries, exits, size=1.0, price=self._opens if late else self._closes,
            fees=COMMISSION, init_cash=CAPITAL, freq="1min",
        )  # fmt: skip


def measured(portfolio: Any, *, full: bool) -> dict[str, Any]:
    """The metrics that a sweep of ours has too, as far as vectorbt has them; at least the final value."""
    if not full:
        return {"final_value": portfolio.final_value()}
    trades, drawdowns = portfolio.trades, portfolio.drawdowns
    return {
        "final_value": portfolio.final_value(),
        "total_return": portfolio.total_return(),
        "max_drawdown": portfolio.max_drawdown(),
        "max_drawdown_duration": drawdowns.max_duration(),
        "sharpe_ratio": portfolio.sharpe_ratio(),
        "sortino_ratio": portfolio.sortino_ratio(),
        "num_trades": trades.count(),
        "win_rate": trades.win_rate(),
        "gross_profit": trades.winning.pnl.sum(),
        "gross_loss": trades.losing.pnl.sum(),
        "exposure": trades.duration.sum(),
        "turnover": portfolio.orders.count(),
        "fees_paid": portfolio.orders.fees.sum(),
    }


if __name__ == "__main__":
    serve(("vectorbt",), "vectorbt", make)
