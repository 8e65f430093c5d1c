"""The honesty check of a backtest: ``python -m backtest.lookahead`` runs it on cut, changed and later-begun data.

It binds the detectors of ``research.lookahead`` to the engine. The answers of a strategy, kernels included, are
recorded as they come, each with the position that it leads to.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from backtest.command_line import EXIT_BAD, EXIT_OK, ended_by
from core.errors import ConfigError

if TYPE_CHECKING:
    from backtest.contracts import BacktestConfig
    from backtest.data.series import BarSeries
    from backtest.data.trade_tape import TradeTape
    from backtest.engine.slots import Entrant, MakeStrategy
    from backtest.lookahead.data import Data
    from backtest.run_request import RunRequest
    from core.instruments import Instruments
    from research.lookahead import Decision, LookaheadReport, OutsideReport, WarmUpReport
    from risk.limits import RiskLimits

_FEW_DECISIONS: Final = 10
_ANOTHER_YEAR_NS: Final = 52 * 7 * 86_400 * 10**9
_PLACEHOLDER: Final = "strategies.samples.buy_hold.BuyHold"


@dataclass(frozen=True)
class FromData:
    """A strategy that is built from the data, such as one that computes its signals beforehand.

    ``build`` takes the series and tapes of a run and gives a class, a function from context to strategy, or entrants.
    Only what is made this way can be seen to leak through it: a file that a strategy opens by itself is never cut.
    """

    build: Callable[[Data], MakeStrategy | Sequence[Entrant]]


@dataclass(frozen=True)
class HonestyReport:
    """The reports of the detectors. ``clean``: no decision depended on the future; a short warm-up is no leak."""

    truncated: LookaheadReport
    disturbed: LookaheadReport
    warm_up: WarmUpReport
    outside: OutsideReport

    @property
    def clean(self) -> bool:
        """Whether neither of the look-ahead detectors found anything."""
        return self.truncated.clean and self.disturbed.clean

    def lines(self) -> list[str]:
        """For a terminal."""
        parts = (
            ("Cut data", self.truncated),
            ("Another future", self.disturbed),
            ("Other prices", self.outside),
            ("Warm-up", self.warm_up),
        )
        lines = []
        for name, report in parts:
            head, *rest = report.lines()
            lines += [f"{name + ':':<16}{head}", *(f"{'':<16}{line}" for line in rest)]
        return [*lines, f"{'Verdict:':<16}{self._verdict()}"]

    def _verdict(self) -> str:
        from backtest.metrics.formatting import counted

        seen = self.truncated.decisions
        if not self.clean:
            return "NOT TO BE TRUSTED"
        if not seen:
            return "unknown: it decided nothing on this data"
        if self.outside.elsewhere:
            return "unknown: it does not decide by the prices that it is given"
        if seen < _FEW_DECISIONS:
            return f"honest, as far as {counted(seen, 'decision')} can tell"
        return "honest"


def check_honesty(
    config: BacktestConfig,
    strategy: MakeStrategy | Sequence[Entrant] | FromData,
    data: BarSeries | TradeTape | Iterable[BarSeries | TradeTape],
    instruments: Instruments | None = None,
    limits: RiskLimits | None = None,
    *,
    most_cuts: int | None = None,
    most_starts: int | None = None,
    warm_up: int | None = None,
) -> HonestyReport:
    """Search a strategy for decisions that know the future, and measure its warm-up.

    Args:
        config, strategy, data, instruments, limits: as for ``BacktestEngine``; the seed of ``config`` is that of the
            made-up futures as well.
        most_cuts: runs on cut data; a third as many futures are tried.
        most_starts: runs from later beginnings.
        warm_up: bars that the strategy is said to need, instead of what it declares.

    Raises:
        ConfigError: data and configuration do not fit together.
        StrategyFailedError: the strategy fails on the whole data; on cut data that is part of the answer.
    """
    import numpy as np

    from backtest.data.series import BarSeries
    from backtest.data.trade_tape import TradeTape
    from backtest.lookahead.data import data_slicing, moved
    from research.lookahead import detector as lookahead
    from research.lookahead import outside as lookahead_outside
    from research.lookahead import warm_up as lookahead_warm_up

    inputs = (data,) if isinstance(data, BarSeries | TradeTape) else tuple(data)
    full: Data = tuple(_within(series, config) for series in inputs if series.symbol in config.traded)
    config = replace(config, start_ts=0, end_ts=0)
    table = _with_grids(full, instruments)
    slicing = data_slicing(table)
    cuts = lookahead.MOST_CUTS if most_cuts is None else most_cuts

    def run(part: Data) -> list[Decision]:
        return decisions_of(config, strategy, part, table, limits)

    def run_freely(part: Data) -> list[Decision]:  # a risk engine's day has a memory of its own
        return decisions_of(replace(config, risk=False), strategy, part, table, limits)

    return HonestyReport(
        lookahead.find_lookahead(run, full, slicing, most_cuts=cuts),
        lookahead.find_future_dependence(
            run, full, slicing, np.random.default_rng(config.seed), most_cuts=max(cuts // 3, 1)
        ),
        lookahead_warm_up.find_warm_up(
            run_freely,
            full,
            slicing,
            declared=declared_warm_up(strategy, config.params) if warm_up is None else warm_up,
            most_starts=lookahead_warm_up.MOST_STARTS if most_starts is None else most_starts,
        ),
        lookahead_outside.find_outside_knowledge(
            run_freely, full, slicing, np.random.default_rng(config.seed), moved, _ANOTHER_YEAR_NS
        ),
    )


def decisions_of(
    config: BacktestConfig,
    strategy: MakeStrategy | Sequence[Entrant] | FromData,
    data: Data,
    instruments: Instruments | None = None,
    limits: RiskLimits | None = None,
) -> list[Decision]:
    """The decisions of the strategies in one run, in order, filled or not. Raises as ``BacktestEngine`` does."""
    from backtest.engine import BacktestEngine

    log: list[Decision] = []
    watched = [replace(entrant, make=_watched(entrant.make, log)) for entrant in _entrants(config, strategy, data)]
    BacktestEngine(config, watched, data, instruments, limits).run()
    return log


def declared_warm_up(strategy: MakeStrategy | Sequence[Entrant] | FromData, params: Mapping[str, Any]) -> int | None:
    """The bars that a kernel, or any class with a ``warm_up`` of its parameters, says it needs; None without."""
    import msgspec

    maker: object = strategy
    if isinstance(strategy, Sequence) and len(strategy) == 1:
        maker, params = strategy[0].make, strategy[0].params
    says, model = getattr(maker, "warm_up", None), getattr(maker, "Params", None)
    if says is None or model is None:
        return None
    try:
        return int(says(msgspec.convert(dict(params), model)))
    except msgspec.ValidationError as error:
        raise ConfigError(f"params: {error}") from None


def _entrants(
    config: BacktestConfig, strategy: MakeStrategy | Sequence[Entrant] | FromData, data: Data
) -> Sequence[Entrant]:
    from backtest.engine.slots import Entrant

    maker = strategy.build(data) if isinstance(strategy, FromData) else strategy
    return [Entrant(config.strategy_id, maker, config.traded, config.params)] if callable(maker) else maker


def _within(data: BarSeries | TradeTape, config: BacktestConfig) -> BarSeries | TradeTape:
    return data.between(config.start_ts, config.end_ts) if config.start_ts or config.end_ts else data


def _with_grids(data: Data, instruments: Instruments | None) -> Instruments:
    """The price steps of the whole data for every part of it: derived from a part, they could be others."""
    from backtest.data.price_grid import derived_instrument
    from backtest.data.series import BarSeries
    from core.instruments import Instrument, Instruments

    table: dict[str, Instrument] = dict(instruments.items()) if instruments is not None else {}
    for symbol in sorted({series.symbol for series in data} - set(table)):
        bars: list[BarSeries] = []
        for source in data:
            if source.symbol == symbol:
                bars += [source] if isinstance(source, BarSeries) else source.bars(("1m",))
        table[symbol] = derived_instrument(bars)
    return Instruments(table[symbol] for symbol in sorted(table))


def _watched(make: MakeStrategy, log: list[Decision]) -> MakeStrategy:
    """The same strategy, whose answers are written down."""
    from core.contracts import OHLCVBar, OrderCancel, OrderIntent, TradeEvent
    from research.lookahead import Decision
    from strategies.base import StrategyBase
    from strategies.context import StrategyContext
    from strategies.hosting.admission import ANSWER_LIMIT

    class Watched(StrategyBase):
        def __init__(self, context: StrategyContext) -> None:
            super().__init__(context)
            self._inner = make(context)

        def on_event(self, event: Any) -> Iterable[OrderIntent | OrderCancel]:
            answered = self._inner.on_event(event)
            if not answered or not isinstance(answered, Iterable):
                return answered
            answers = list(islice(answered, ANSWER_LIMIT + 1))
            # an open may fall on the very time of a cut: what its fills lead to comes after the data up to there
            ts_ns = event.ts_ns + (0 if isinstance(event, OHLCVBar | TradeEvent) else 1)
            orders = self.context.orders
            dropped = {answer.order_id for answer in answers if isinstance(answer, OrderCancel)}
            aims: dict[str, float] = {}
            for answer in answers:
                if isinstance(answer, OrderCancel):
                    log.append(Decision(ts_ns, answer.symbol, "cancel"))
                elif isinstance(answer, OrderIntent):
                    lot = float(self.context.instruments[answer.symbol].lot_size)
                    if answer.symbol not in aims:
                        position = self.context.positions.get(answer.symbol)
                        under_way = sum(
                            order.signed_lots
                            for order in orders.values()
                            if order.symbol == answer.symbol and order.order_id not in dropped
                        )
                        aims[answer.symbol] = (0.0 if position is None else position.qty) + lot * under_way
                    aims[answer.symbol] += answer.qty if answer.side == "buy" else -answer.qty
                    target = lot * round(aims[answer.symbol] / lot)
                    amounts = (answer.qty,) if answer.limit_price is None else (answer.qty, answer.limit_price)
                    log.append(Decision(ts_ns, answer.symbol, f"{answer.side} {answer.type}", amounts, target))
            return answers

    return Watched


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, 1 with a sentence on stderr, or 4 when a decision knew the future; wrong usage ends with 2."""
    return ended_by("honesty", parser(), _answer, arguments)


def _answer(options: argparse.Namespace) -> int:
    if options.report:
        raise ConfigError("--report: expected without it, since there is no HTML page of honesty; --out writes JSON")
    request = _request_of(options)
    report = _run(request, options)
    document = json.dumps({"clean": report.clean, **asdict(report)})
    print(document if options.as_json else "\n".join(report.lines()))
    if options.out is not None:
        path = _saved(document, options.out, f"honesty_{request.name}.json")
        if not options.as_json:
            print(f"Report saved to:  {path}")
    return EXIT_OK if report.clean and not report.outside.elsewhere else EXIT_BAD


def parser() -> argparse.ArgumentParser:
    """The command line's grammar: the runner's, and how long to search."""
    from backtest import runner

    p = runner.parser()
    p.prog = "python -m backtest.lookahead"
    p.description = "Run a strategy on cut, changed and later-begun data, and name every decision that knew the future."
    p.epilog = (
        "Ends with 0 when nothing leaks, 4 when something does or cannot be seen. Writes honesty_*.json into --out "
        "where that is given, and no other files."
    )
    search = p.add_argument_group("search")
    search.add_argument("--build", metavar="DOTTED.PATH", help="a function from series to strategy, instead of a class")
    search.add_argument("--cuts", type=_count, metavar="N", help="runs on cut data (default 40)")
    search.add_argument("--starts", type=_count, metavar="N", help="runs from later beginnings (default 24)")
    search.add_argument("--warm-up", type=_count, metavar="BARS", help="what the strategy is said to need")
    return p


def _request_of(options: argparse.Namespace) -> RunRequest:
    from backtest.run_request import RunRequest

    if options.build is not None:
        options.class_path = _PLACEHOLDER  # a request names a class; what is built takes its place
    return RunRequest.of(options)


def _saved(text: str, folder: Path, name: str) -> Path:
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: expected a file that can be written, got {error}; choose --out") from None
    return path


def _run(request: RunRequest, options: argparse.Namespace) -> HonestyReport:
    build = None if options.build is None else FromData(_function(options.build))
    return check_honesty(
        request.config, build or request.entrants, request.data, request.instruments, request.limits,
        most_cuts=options.cuts, most_starts=options.starts, warm_up=options.warm_up,
    )  # fmt: skip


def _function(path: str) -> Callable[..., Any]:
    module, _, name = path.rpartition(".")
    try:
        function: Callable[..., Any] = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"--build: expected the dotted path of a function, got {path!r}: {error}") from None
    return function


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)
