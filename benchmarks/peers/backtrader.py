"""backtrader: its own averages and cross indicator in its vectorised preparation, market orders, cheat-on-close.

A cerebro is built anew for every run and reads its feed again; neither is timed, the feed's time is taken out.
"""

from __future__ import annotations

from typing import Any

from benchmarks.peers.protocol import CAPITAL, COMMISSION, Answer, Bars, Job, serve


def make(bars: Bars, job: Job) -> Backtrader:
    """The bars as the frame that its feed takes."""
    import pandas as pd

    frame = pd.DataFrame(
        {"open": bars.open, "high": bars.high, "low": bars.low, "close": bars.close, "volume": bars.volume},
        index=pd.to_datetime(bars.ts_close),
    )
    return Backtrader(frame)


def _strategy() -> Any:
    import backtrader as bt  # type: ignore[import-not-found]  # a peer's environment

    class Cross(bt.Strategy):  # type: ignore[misc]  # a peer's class
        params = (("fast", 10), ("slow", 50))

        def __init__(self) -> None:
            quick = bt.ind.SMA(self.data.close, period=self.p.fast)
            calm = bt.ind.SMA(self.data.close, period=self.p.slow)
            self.cross = bt.ind.CrossOver(quick, calm)
            self.trips = 0

        def next(self) -> None:
            if self.cross[0] > 0:
                self.buy(size=1)
            elif self.cross[0] < 0 and self.position:
                self.close()

        def notify_trade(self, trade: Any) -> None:
            self.trips += trade.isclosed

    return Cross


class Backtrader:
    """One run."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self._strategy = _strategy()

    def arrange(self, job: Job) -> Any:
        """A cerebro whose feed is loaded."""
        import backtrader as bt

        class Loaded(bt.feeds.PandasData):  # type: ignore[misc]  # a peer's class
            """Loads once, before the clock starts; when the run wants to load it, it is there."""

            loaded = False

            def reset(self) -> None:
                if not self.loaded:
                    super().reset()

            def _start(self) -> None:
                if not self.loaded:
                    super()._start()

            def extend(self, *args: Any, **named: Any) -> None:
                if not self.loaded:
                    super().extend(*args, **named)

            def preload(self) -> None:
                if not self.loaded:
                    super().preload()
                    self.loaded = True

        feed = Loaded(dataname=self._frame)
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.adddata(feed)
        cerebro.addstrategy(self._strategy, fast=job["fast"], slow=job["slow"])
        cerebro.broker.setcash(CAPITAL)
        cerebro.broker.setcommission(commission=COMMISSION)
        cerebro.broker.set_coc(job["timing"] == "close")
        feed.reset()
        feed.extend(size=cerebro.p.lookahead)
        feed._start()
        feed.preload()
        return cerebro

    def run(self, arranged: Any) -> Any:
        """Without the statistics and observers that can be left out."""
        (strategy,) = arranged.run()
        return strategy

    def read(self, result: Any) -> Answer:
        """From the broker and the trades it told of."""
        return {"trips": result.trips, "final": float(result.broker.getvalue())}


if __name__ == "__main__":
    serve(("backtrader", "pandas"), "backtrader", make)
