"""What the sets of a sweep share, as a run: what the caller gave, the rest as ``python -m backtest.runner`` has it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from backtest.contracts import BacktestConfig
from backtest.data.series import BarSeries
from backtest.data.trade_tape import TradeTape
from backtest.engine.seats import Entrant
from backtest.run_request import RunRequest
from backtest.runner import parser
from core.config.schema import RiskConfig
from core.instruments import Instruments, file_symbol
from risk.limits import RiskLimits
from strategies.modules import path_of
from strategies.registry import registered

_FOLDER: Final = Path("var", "backtest")


def request_of(
    strategy_id: str,
    symbol: str,
    config: BacktestConfig | None,
    data: BarSeries | Iterable[BarSeries | TradeTape] | None,
    strategy: Any,
    instruments: Instruments | None,
    limits: RiskLimits | None,
) -> RunRequest:
    """The run. Without data, that of the installation's journals. Raises ConfigError."""
    if data is None:
        return _installed(strategy_id, symbol, config, strategy, instruments, limits)
    make = strategy or registered(strategy_id)
    config = config or BacktestConfig(symbol, strategy_id, 0, 0, 10_000.0, 0.001, 0.0)
    return RunRequest(
        config=config,
        data=(data,) if isinstance(data, BarSeries) else tuple(data),
        entrants=(Entrant(strategy_id, make, config.traded, config.params),),
        instruments=Instruments(()) if instruments is None else instruments,
        limits=limits or RiskLimits.of(RiskConfig()),
        name=f"{strategy_id}_{file_symbol(symbol)}".replace(":", ""),
        folder=_FOLDER,
    )


def _installed(
    strategy_id: str,
    symbol: str,
    config: BacktestConfig | None,
    strategy: Any,
    instruments: Instruments | None,
    limits: RiskLimits | None,
) -> RunRequest:
    chosen = parser().parse_args(["--strategy", strategy_id, "--symbol", symbol])
    if strategy is not None:
        chosen.class_path = path_of(strategy)
    if config is not None:
        chosen.symbol, chosen.timeframe = list(config.traded), ",".join(config.timeframes)
        chosen.start, chosen.end, chosen.fill = config.start_ts, config.end_ts, config.fill_timing.value
    request = RunRequest.of(chosen)
    shared = request.config if config is None else config
    entrants = (replace(request.entrants[0], params=shared.params),)
    return replace(
        request,
        config=shared,
        entrants=entrants,
        instruments=instruments or request.instruments,
        limits=limits or request.limits,
    )
