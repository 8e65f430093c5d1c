"""The configuration of a backtest and its result: every round trip, the metrics, the fingerprints.

Amounts are in quote currency unless a name says otherwise, rates are fractions, times UTC epoch nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

from core.contracts import Contract, Side
from core.contracts.fast_init import quickly_built
from core.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

T = TypeVar("T", covariant=True)
SlippageModel = Literal["fixed", "range", "volume"]


class FillTiming(StrEnum):
    """When an order that a bar or trade led to can fill. Printed on every result: it decides what a result is worth.

    ``bar_close``: at the close of the very bar it was decided on (the specification's rule; kind, for nobody trades
    at a price that is known only once it is gone); in another symbol, of which no bar closes then, at its next close.
    ``next_open``: at the open of the next bar. ``next_trade``: at the first trade after the latency, in the rounds and
    at the venue of the paper fleet; needs trades as input.

    Limit orders fill at their limit, from bars that open at or after the decision. ``bar_close`` keeps to the limit
    also where a bar opens beyond it, as specified. ``next_open`` gives an order that its first open satisfies that
    open, which is the better price; from then on it rests.
    """

    BAR_CLOSE = "bar_close"
    NEXT_OPEN = "next_open"
    NEXT_TRADE = "next_trade"


@dataclass(frozen=True)
class BacktestConfig:
    """One run.

    Attributes:
        start_ts: bars and trades at or after this time; 0 for all.
        end_ts: and before this one; 0 for all.
        initial_capital: cash at the start.
        commission_rate: of the notional, both sides; 0.001 is 0.1 %.
        slippage_bps: basis points of the price, always against the order.
        maker_rate: commission of resting orders, where it differs.
        slippage_model: ``fixed`` moves every market order by ``slippage_bps``; ``range`` by that share of the bar's
            range instead; ``volume`` by the square root of its share in the bar's volume.
        latency_ns: from the decision to the venue, with ``next_trade``.
        symbols: several instead of the one ``symbol``.
        params: the strategy's.
        risk: whether orders pass the risk engine, under the limits of the installation.
        seed: of whatever a strategy draws; recorded with the result.
        fill_model: of the paper venue, with ``next_trade``.
        participation: share of each trade's quantity that orders may take, above 0 to 1; of ``trade_flow``.
    """

    symbol: str
    strategy_id: str
    start_ts: int
    end_ts: int
    initial_capital: float
    commission_rate: float
    slippage_bps: float
    maker_rate: float | None = None
    slippage_model: SlippageModel = "fixed"
    fill_timing: FillTiming = FillTiming.BAR_CLOSE
    latency_ns: int = 0
    timeframes: tuple[str, ...] = ("1m",)
    symbols: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    risk: bool = True
    seed: int = 0
    fill_model: Literal["last_trade", "trade_flow"] = "last_trade"
    participation: float = 1.0

    def __post_init__(self) -> None:
        for name, value, fine, expected in (
            ("initial_capital", self.initial_capital, 0 < self.initial_capital < inf, "a number above 0"),
            ("commission_rate", self.commission_rate, -0.05 <= self.commission_rate <= 0.05, "-0.05 to 0.05"),
            ("maker_rate", self.maker_rate, -0.05 <= (self.maker_rate or 0.0) <= 0.05, "-0.05 to 0.05"),
            ("slippage_bps", self.slippage_bps, 0 <= self.slippage_bps <= 10_000, "0 to 10,000"),
            ("latency_ns", self.latency_ns, self.latency_ns >= 0, "at least 0"),
            ("end_ts", self.end_ts, self.end_ts == 0 or self.end_ts > self.start_ts, "a time after start_ts, or 0"),
            ("timeframes", self.timeframes, bool(self.timeframes), "at least one"),
            ("participation", self.participation, 0 < self.participation <= 1, "above 0 to 1"),
            (
                "participation",
                self.participation,
                self.participation == 1 or self._in_the_flow,
                "1 without fill timing next_trade and fill model trade_flow, which alone look at quantities",
            ),
        ):
            if not fine:
                raise ConfigError(f"BacktestConfig.{name}: expected {expected}, got {value!r}")

    @property
    def _in_the_flow(self) -> bool:
        return self.fill_timing is FillTiming.NEXT_TRADE and self.fill_model == "trade_flow"

    @property
    def traded(self) -> tuple[str, ...]:
        """Every symbol of the run."""
        return self.symbols or (self.symbol,)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "fill_timing": self.fill_timing.value, "params": dict(self.params)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Back from plain JSON values."""
        sequences = {name: tuple(values.get(name, ())) for name in ("timeframes", "symbols") if name in values}
        return cls(**{**values, **sequences, "fill_timing": FillTiming(values.get("fill_timing", "bar_close"))})


@quickly_built
@dataclass(frozen=True, slots=True)
class RoundTrip:
    """A position from its opening to its closing, first in first out; one that is open at the end is marked to market.

    ``pnl`` is after ``fees``; ``mae`` and ``mfe`` are the worst and best unrealised result on the way, before fees.
    """

    symbol: str
    side: Side
    qty: float
    ts_open: int
    ts_close: int
    price_open: float
    price_close: float
    pnl: float
    fees: float
    is_open: bool = False
    mae: float = 0.0
    mfe: float = 0.0

    @property
    def return_pct(self) -> float:
        """Profit or loss in percent of what was put in."""
        return 100.0 * self.pnl / (self.qty * self.price_open)


class MadeWhenAsked(Sequence[T]):
    """Values that are only made when the first of them is asked for: who wants figures does not wait for them."""

    @cached_property
    def _elements(self) -> tuple[T, ...]:
        raise NotImplementedError

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[T, ...]: ...
    def __getitem__(self, at: int | slice) -> T | tuple[T, ...]:
        return self._elements[at]

    def __iter__(self) -> Iterator[T]:
        return iter(self._elements)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._elements == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # neither have the values

    def __repr__(self) -> str:
        return repr(list(self._elements))


class PlainForms(MadeWhenAsked[Mapping[str, Any]]):
    """Messages as plain JSON values."""

    def __init__(self, messages: Iterable[Contract]) -> None:
        self._messages = tuple(messages)

    @cached_property
    def _elements(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(message.to_dict() for message in self._messages)

    def __len__(self) -> int:
        return len(self._messages)


class EquityCurve(MadeWhenAsked[tuple[int, float]]):
    """(ts_ns, capital) after every bar. ``ts_ns`` and ``equity`` are the same as columns, each of shape ``(bars,)``."""

    def __init__(self, ts_ns: npt.NDArray[np.int64], equity: npt.NDArray[np.float64]) -> None:
        self.ts_ns = ts_ns
        self.equity = equity

    @cached_property
    def _elements(self) -> tuple[tuple[int, float], ...]:
        return tuple(zip(self.ts_ns.tolist(), self.equity.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self.ts_ns)


@dataclass(frozen=True)
class Fingerprints:
    """What a result rests on, each as SHA-256 in hex; the same four give the same ``orders``."""

    data: str = ""
    config: str = ""
    code: str = ""
    orders: str = ""


@dataclass(frozen=True)
class BacktestResult:
    """What came of a run. ``num_trades`` counts closed round trips, ``win_rate`` is a fraction of them.

    ``equity_curve`` holds (ts_ns, capital) after every bar; ``fills`` and ``orders`` are the contracts' plain forms.
    ``denied`` counts what the risk engine refused, ``refused`` all refusals by their code, the venue's included.
    """

    strategy_id: str
    symbol: str
    start_ts: int
    end_ts: int
    initial_capital: float
    final_capital: float
    total_return_pct: float
    sharpe_ratio: float
    max_drawdown_pct: float
    num_trades: int
    win_rate: float
    profit_factor: float
    equity_curve: Sequence[tuple[int, float]]
    config: BacktestConfig | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    round_trips: tuple[RoundTrip, ...] = ()
    fills: Sequence[Mapping[str, Any]] = ()
    orders: Sequence[Mapping[str, Any]] = ()
    fees_paid: float = 0.0
    denied: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    bars: int = 0
    warnings: tuple[str, ...] = ()
    fingerprints: Fingerprints = Fingerprints()

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = {attribute.name: getattr(self, attribute.name) for attribute in fields(self)}
        values["equity_curve"] = [[ts, capital] for ts, capital in self.equity_curve]
        values["config"] = None if self.config is None else self.config.to_dict()
        values["metrics"] = dict(self.metrics)
        values["refused"] = dict(self.refused)
        values["round_trips"] = [asdict(trip) for trip in self.round_trips]
        values["fills"] = [dict(fill) for fill in self.fills]
        values["orders"] = [dict(order) for order in self.orders]
        values["warnings"] = list(self.warnings)
        values["fingerprints"] = asdict(self.fingerprints)
        return values

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Back from plain JSON values."""
        values = dict(content)
        values["equity_curve"] = [(int(ts), float(capital)) for ts, capital in values["equity_curve"]]
        config = values.get("config")
        values["config"] = None if config is None else BacktestConfig.from_dict(config)
        values["round_trips"] = tuple(RoundTrip(**trip) for trip in values.get("round_trips", ()))
        for name in ("fills", "orders", "warnings"):
            values[name] = tuple(values.get(name, ()))
        values["fingerprints"] = Fingerprints(**values.get("fingerprints", {}))
        return cls(**values)
