"""The holdings of each kind of daemon, read from its folded component: positions, orders, restrictions, the day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from core.clock import NS_PER_DAY, NS_PER_S
from core.config.model import Config
from core.instruments import Instrument
from core.position_ledger import PositionLedger
from execution import PaperVenue
from risk import RiskEngine
from strategies.manager import StrategyManager

_KILL_SWITCH: Final = "kill_switch"


@dataclass(frozen=True, slots=True)
class Holding:
    """A position in base and quote currency; ``realized_pnl`` is before fees."""

    symbol: str
    qty: float
    avg_price: float
    realized_pnl: float
    fees_paid: float
    strategy_id: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """An order that may still fill, in base currency. What a daemon does not keep of it is empty or None."""

    order_id: str
    symbol: str
    side: str
    qty: float
    left_qty: float
    limit_price: float | None = None
    strategy_id: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Day:
    """The UTC day's profit and loss at recorded prices, and the loss from which on only reducing is allowed."""

    date: str
    pnl_usd: float
    loss_cap_usd: float


@dataclass(frozen=True, slots=True)
class Folded:
    """A component's durable state. ``trading`` is empty where a daemon has no say in it; ``remembered`` counts ids."""

    positions: Sequence[Holding]
    orders: Sequence[Order]
    remembered: Mapping[str, int]
    trading: str = ""
    restrictions: Sequence[Mapping[str, str]] = ()
    day: Day | None = None

    def quantities(self) -> dict[str, float]:
        """The quantities by symbol, of a daemon with one position ledger; flat ones left out."""
        return {position.symbol: position.qty for position in self.positions if position.qty}


def folded_risk(engine: RiskEngine, config: Config) -> Folded:
    """The holdings of the risk engine."""
    snapshot, instruments = engine.snapshot(), config.instruments_table()
    orders = [
        Order(order_id, symbol, side, instruments[symbol].qty(target), instruments[symbol].qty(max(0, target - filled)))
        for order_id, (symbol, side, target, filled) in snapshot["working"].items()
    ]
    day = snapshot["day"]["day"]
    return Folded(
        _holdings(snapshot["positions"], config),
        orders,
        {"decided intents": len(snapshot["decided"])},
        engine.state.value,
        [{"name": name, "source": source, "detail": detail} for name, source, detail in snapshot["restrictions"]],
        None if day < 0 else Day(_date(day), engine.day_pnl_usd(), engine.limits.daily_loss_usd_cap),
    )


def folded_paper(venue: PaperVenue, config: Config) -> Folded:
    """The holdings of the simulated venue."""
    snapshot, instruments = venue.snapshot(), config.instruments_table()
    orders = [_open(state, instruments[state["order"]["symbol"]]) for state in _open_of(snapshot)]
    id_sets = {"finished orders": snapshot["orders"]["finished"], "early cancels": snapshot["orders"]["early_cancels"]}
    return Folded(
        _holdings(snapshot["positions"], config),
        orders,
        {name: len(ids) for name, ids in id_sets.items()},
        "HALTED" if venue.halted else "ACTIVE",
        [{"name": _KILL_SWITCH, "source": "", "detail": ""}] if venue.halted else (),
    )


def folded_strategies(manager: StrategyManager, config: Config) -> Folded:
    """The holdings of the strategies, each with its own positions."""
    snapshot, instruments = manager.snapshot(), config.instruments_table()
    positions = [
        holding for strategy, ledger in snapshot["positions"].items() for holding in _holdings(ledger, config, strategy)
    ]
    orders = [
        Order(
            order["order_id"], order["symbol"], order["side"], order["qty"],
            instruments[order["symbol"]].qty(order["open_lots"]), order["limit_price"], order["strategy_id"],
            "cancel asked for" if order["cancel_requested"] else "",
        )
        for order in _open_of(snapshot)
    ]  # fmt: skip
    return Folded(positions, orders, {"ended orders": len(snapshot["orders"]["ended"])})


def _open_of(snapshot: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    orders: Sequence[Mapping[str, Any]] = snapshot["orders"]["open"]
    return orders


def _open(state: Mapping[str, Any], instrument: Instrument) -> Order:
    order = state["order"]
    remaining = instrument.qty(instrument.lots(order["qty"]) - state["filled"])
    return Order(
        order["order_id"], order["symbol"], order["side"], order["qty"], remaining, order["limit_price"],
        order["strategy_id"],
    )  # fmt: skip


def _holdings(ledger: Mapping[str, Any], config: Config, strategy_id: str = "") -> list[Holding]:
    positions = PositionLedger(config.instruments_table(), ledger["method"])
    positions.load(ledger)
    return [
        Holding(symbol, position.qty, position.avg_price, position.realized_pnl, position.fees_paid, strategy_id)
        for symbol, position in positions.positions().items()
    ]


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * NS_PER_DAY // NS_PER_S, UTC).date().isoformat()
