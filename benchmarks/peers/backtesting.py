"""backtesting.py: the strategy as its documentation writes one, and its own ``optimize`` over a grid.

Averages are computed once per run over whole columns, as the library recommends. With whole units of 1 BTC at a
price far below the cash nothing needs scaling. ``trade_on_close`` makes its orders fill at the close.
"""

from __future__ import annotations

from typing import Any

from benchmarks.peers.protocol import CAPITAL, COMMISSION, Answer, Bars, Job, serve


def make(bars: Bars, job: Job) -> Backtesting:
    """The bars as the frame that the library takes."""
    import numpy as np
    import pandas as pd
    from backtesting import Strategy  # type: ignore[import-not-found]  # a peer's environment

    def sma(closes: Any, period: int) -> Any:
        sums = np.concatenate(([0.0], np.cumsum(closes)))
        averages = np.full(len(closes), np.nan)
        averages[period - 1 :] = (sums[period:] - sums[:-period]) / period
        return averages

    class Cross(Strategy):  # type: ignore[misc]  # a peer's class
        fast, slow = 10, 50

        def init(self) -> None:
            self.quick = self.I(sma, self.data.Close, self.fast)
            self.calm = self.I(sma, self.data.Close, self.slow)
            first = self.slow - 1  # where both exist: ``next`` is called from the bar after it on
            quick, calm = self.quick[first], self.calm[first]
            self.above: bool | None = None if quick == calm else quick > calm

        def next(self) -> None:
            quick, calm = self.quick[-1], self.calm[-1]
            above = quick > calm
            if above == self.above or quick == calm:
                return
            was_above, self.above = self.above, above
            if was_above is None:
                return
            if above:
                self.buy(size=1)
            elif self.position:
                self.position.close()

    Cross.__qualname__ = "Cross"
    globals()["Cross"] = Cross  # where the pool of optimize() looks for it by name
    frame = pd.DataFrame(
        {"Open": bars.open, "High": bars.high, "Low": bars.low, "Close": bars.close, "Volume": bars.volume},
        index=pd.to_datetime(bars.ts_close),
    )
    return Backtesting(frame, Cross)


class Backtesting:
    """One run, or a grid of them where the job has ``fasts`` and ``slows``."""

    def __init__(self, frame: Any, strategy: Any) -> None:
        self._frame = frame
        self._strategy = strategy

    def arrange(self, job: Job) -> Job:
        """Nothing to make."""
        return job

    def run(self, arranged: Job) -> Any:
        """``Backtest(...).run()`` with its statistics, or ``optimize`` on all cores."""
        import backtesting

        test = backtesting.Backtest(
            self._frame, self._strategy, cash=CAPITAL, commission=COMMISSION,
            trade_on_close=arranged["timing"] == "close",
        )  # fmt: skip
        if "fasts" not in arranged:
            return test.run(fast=arranged["fast"], slow=arranged["slow"])
        _, heatmap = test.optimize(
            fast=arranged["fasts"], slow=arranged["slows"], maximize="Equity Final [$]", max_tries=None,
            return_heatmap=True,
        )  # fmt: skip
        return heatmap

    def read(self, result: Any) -> Answer:
        """From the statistics."""
        if "_trades" not in result:
            ordered = result.sort_index()
            return {"sets": len(ordered), "finals": ordered.tolist()}
        return {"trips": len(result["_trades"]), "final": float(result["Equity Final [$]"])}


if __name__ == "__main__":
    serve(("backtesting",), "backtesting", make)
