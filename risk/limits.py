"""The limits that the risk engine enforces, and how they travel in a decision as ``caps``.

Money is in US dollars; a quote currency of ``USD_PAR`` counts as dollars one to one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import inf
from typing import Any, Final, Protocol, Self

from core.errors import ConfigError, ContractError

USD_PAR: Final = ("USD", "USDT", "USDC", "FDUSD", "TUSD", "BUSD", "DAI")

UNLIMITED: Final = 1e15
"""A cap that nothing reaches. Not infinity: caps are written to journals, and JSON has no infinity."""


class CapsSection(Protocol):
    """The ``risk`` section of the configuration, as far as the limits need it."""

    @property
    def per_order_usd_cap(self) -> float: ...
    @property
    def daily_loss_usd_cap(self) -> float: ...
    @property
    def orders_per_min_cap(self) -> int: ...
    @property
    def position_usd_cap(self) -> float: ...
    @property
    def price_collar_bps(self) -> float: ...
    @property
    def max_price_age_ms(self) -> float: ...


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """Caps of the risk engine; the engine may exceed none of them, but it may reach each.

    Args:
        per_order_usd_cap: largest notional of one order.
        position_usd_cap: largest position per symbol, long or short, working orders included.
        daily_loss_usd_cap: loss of one UTC day, open positions marked to market, at which trading
            is restricted to reducing positions until the day ends.
        orders_per_min_cap: orders per minute and symbol; that many at once, then one per 60 s / cap.
        price_collar_bps: how far a limit price may lie beyond the last trade, on the side that pays more.
        max_price_age_ms: oldest last trade on which an order is let through.
        usd_rates: dollars per unit of a quote currency outside ``USD_PAR`` that has no instrument
            against one of them; a traded rate takes precedence.

    Raises:
        ConfigError: a cap or a rate that is not a finite number above 0, or a rate of a currency of ``USD_PAR``.
    """

    per_order_usd_cap: float
    daily_loss_usd_cap: float
    orders_per_min_cap: int
    position_usd_cap: float = UNLIMITED
    price_collar_bps: float = UNLIMITED
    max_price_age_ms: float = UNLIMITED
    usd_rates: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in CAP_NAMES:
            value = getattr(self, name)
            if not 0 < value < inf:
                raise ConfigError(f"risk.{name}: expected a finite number above 0, got {value!r}")
        if self.orders_per_min_cap != int(self.orders_per_min_cap):
            raise ConfigError(f"risk.orders_per_min_cap: expected a whole number, got {self.orders_per_min_cap!r}")
        for currency, rate in self.usd_rates.items():
            if currency in USD_PAR:
                raise ConfigError(
                    f"risk.usd_rates.{currency}: expected no rate, {currency} counts as dollars one to one"
                )
            if not 0 < rate < inf:
                raise ConfigError(f"risk.usd_rates.{currency}: expected a finite number above 0, got {rate!r}")

    def caps(self) -> dict[str, float]:
        """The caps as they stand in ``RiskDecision.caps``."""
        return {
            "per_order_usd_cap": float(self.per_order_usd_cap),
            "daily_loss_usd_cap": float(self.daily_loss_usd_cap),
            "orders_per_min_cap": float(self.orders_per_min_cap),
            "position_usd_cap": float(self.position_usd_cap),
            "price_collar_bps": float(self.price_collar_bps),
            "max_price_age_ms": float(self.max_price_age_ms),
        }

    @classmethod
    def of(cls, section: CapsSection) -> Self:
        """The limits of a configuration's ``risk`` section."""
        caps = {name: getattr(section, name) for name in CAP_NAMES}
        return cls(**caps, usd_rates=dict(getattr(section, "usd_rates", {})))

    @classmethod
    def from_caps(cls, caps: Mapping[str, float]) -> Self:
        """The limits that a decision recorded. Raises ContractError when a cap is missing or unknown."""
        if set(caps) != set(CAP_NAMES):
            raise ContractError(
                f"RiskDecision.caps: expected {', '.join(CAP_NAMES)}, got {', '.join(sorted(caps)) or 'none'}"
            )
        values: dict[str, Any] = {**caps, "orders_per_min_cap": int(caps["orders_per_min_cap"])}
        return cls(**values)


CAP_NAMES: Final = tuple(f.name for f in fields(RiskLimits) if f.name != "usd_rates")
