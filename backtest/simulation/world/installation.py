"""The installation that is rehearsed: strategies that trade often, caps that some of their orders break."""

from __future__ import annotations

from typing import Any, Final

from core.config.model import Config

_GRID: Final = {"min_notional": 10, "maker_fee": "0.001", "taker_fee": "0.001"}
INSTRUMENTS: Final[dict[str, dict[str, Any]]] = {
    "BTC/USDT": {"tick_size": "0.01", "lot_size": "0.00001", **_GRID},
    "ETH/USDT": {"tick_size": "0.01", "lot_size": "0.0001", **_GRID},
}


def _strategy(name: str, symbol: str, **params: Any) -> dict[str, Any]:
    return {
        "id": name,
        "class": "strategies.samples.trendline_break.TrendlineBreak",
        "symbols": [symbol],
        "events": ["md.trades.*"],
        "params": {"lookback_periods": 4, "breakout_threshold": 0.00001, "period_s": 1.5, **params},
    }


STRATEGIES: Final = (
    _strategy("btc_market", "BTC/USDT", qty=0.03),
    _strategy("btc_limit", "BTC/USDT", qty=0.02, order_type="limit", period_s=0.7),
    _strategy("btc_too_large", "BTC/USDT", qty=0.5, period_s=3),  # beyond the order cap: always denied
    _strategy("eth_limit", "ETH/USDT", qty=0.8, order_type="limit"),
    _strategy("eth_market", "ETH/USDT", qty=0.5, period_s=0.9),
)


def installation() -> Config:
    """The configuration with everything it writes, and its kill switch, in the working folder."""
    return Config.model_validate(
        {
            "app": {"data_dir": ".", "log_dir": "journals", "ledger_dir": "ledgers"},
            "logging": {"json_dir": "."},
            "instruments": INSTRUMENTS,
            "strategies": STRATEGIES,
            "risk": {"kill_switch_file": "killswitch", "orders_per_min_cap": 40},
            "bars": {"timeframes": ("1m", "5m")},
        }
    )
