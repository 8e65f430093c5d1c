"""The run that the sets of a sweep share: the caller's inputs, the rest as ``python -m backtest.runner`` has it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from backtest.contracts import BacktestConfig
from backtest.data.series import BarSeries
from backtest.engine.slots import Entrant
from backtest.run_request import RunRequest
from backtest.runner import parser
from backtest.sweep.inputs import SweepInputs
from core.config.schema import RiskConfig
from core.instruments import Instruments, file_symbol
from risk.limits import RiskLimits
from strategies.modules import path_of
from strategies.registry import registered

_FOLDER: Final = Path("var", "backtest")


def request_of(strategy_id: str, symbol: str, inputs: SweepInputs) -> RunRequest:
    """The run that every set shares. Without data, that of the installation's journals. Raises ConfigError."""
    data = inputs.data
    if data is None:
        return _installed(strategy_id, symbol, inputs)
    make = inputs.strategy or registered(strategy_id)
    config = inputs.config or BacktestConfig(symbol, strategy_id, 0, 0, 10_000.0, 0.001, 0.0)
    return RunRequest(
        config=config,
        data=(data,) if isinstance(data, BarSeries) else tuple(data),
        entrants=(Entrant(strategy_id, make, config.traded, config.params),),
        instruments=Instruments(()) if inputs.instruments is None else inputs.instruments,
        limits=inputs.limits or RiskLimits.of(RiskConfig()),
        name=f"{strategy_id}_{file_symbol(symbol)}".replace(":", ""),
        folder=_FOLDER,
    )


def _installed(strategy_id: str, symbol: str, inputs: SweepInputs) -> RunRequest:
    arguments = parser().parse_args(["--strategy", strategy_id, "--symbol", symbol])
    config = inputs.config
    if inputs.strategy is not None:
        arguments.class_path = path_of(inputs.strategy)
    if config is not None:
        arguments.symbol, arguments.timeframe = list(config.traded), ",".join(config.timeframes)
        arguments.start, arguments.end, arguments.fill = config.start_ts, config.end_ts, config.fill_timing.value
    request = RunRequest.of(arguments)
    shared = request.config if config is None else config
    return replace(
        request,
        config=shared,
        entrants=(replace(request.entrants[0], params=shared.params),),
        instruments=inputs.instruments or request.instruments,
        limits=inputs.limits or request.limits,
    )
