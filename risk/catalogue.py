"""The catalogue of denials: the meaning of each code, its numbers, and whether it holds for exits. The docs are
generated from it."""

from __future__ import annotations

from typing import Final, NamedTuple

from core.contracts import DenialCode as Code


class CatalogueRow(NamedTuple):
    """One denial code, in words, with the names of the numbers in its reason.

    ``exits`` says whether the rule holds for an order that only reduces a position: it opens with ``pass`` or ``held``.
    """

    code: Code
    meaning: str
    numbers: tuple[str, ...]
    exits: str

    @property
    def holds_for_exits(self) -> bool:
        """True when an exit is denied by this rule like any order."""
        return self.exits.startswith("held")


_ROWS: Final = (
    CatalogueRow(
        Code.HALTED,
        "The kill switch is tripped or trading was halted by hand: nothing passes. The reason is just `halted`; "
        "where it was tripped stands in the decision's inputs.",
        ("kill_switch",),
        "held: nothing passes a halt",
    ),
    CatalogueRow(
        Code.REDUCING,
        "Trading is restricted to reducing positions, and the order is larger than what is left to reduce on its side.",
        ("qty", "reducible"),
        "pass",
    ),
    CatalogueRow(
        Code.PER_ORDER_CAP,
        "The order's notional in USD, at the last trade or its limit price if that is higher, exceeds the cap.",
        ("notional", "cap"),
        "held: close a larger position in parts",
    ),
    CatalogueRow(
        Code.POSITION_CAP,
        "With this and every working order on its side filled, the position in USD at the last trade would exceed "
        "the cap. Orders that only reduce the position pass.",
        ("exposure", "cap", "position", "working"),
        "pass",
    ),
    CatalogueRow(
        Code.DAILY_LOSS_CAP,
        "The loss of the UTC day, fees and open positions included, has reached the cap: until midnight UTC only "
        "orders that reduce a position pass, even if the loss shrinks again.",
        ("day_pnl", "cap"),
        "pass",
    ),
    CatalogueRow(
        Code.ORDER_RATE,
        "The symbol's orders of the last minute have used up the cap; the next one fits after wait_ms.",
        ("orders", "cap", "wait_ms"),
        "held: send again after wait_ms",
    ),
    CatalogueRow(
        Code.PRICE_COLLAR,
        "The limit price lies further beyond the last trade than the collar: a buy above it, a sell below it.",
        ("limit_price", "ref_price", "distance_bps", "collar_bps"),
        "held: a market order has no limit to collar",
    ),
    CatalogueRow(
        Code.STALE_PRICE,
        "The last trade is older than allowed, or the feed reported itself stale or reconnecting since.",
        ("age_ms", "max_age_ms", "feed"),
        "pass: also while the feed is down",
    ),
    CatalogueRow(
        Code.NO_PRICE,
        "The order cannot be valued: no trade was seen and it has no limit price, or its quote currency has no "
        "dollar rate. Zero marks what is missing.",
        ("ref_price", "usd_per_quote"),
        "held: give a limit price, or configure the dollar rate under `risk.usd_rates`",
    ),
    CatalogueRow(
        Code.MIN_NOTIONAL,
        "The order is worth less, in quote currency, than the venue accepts.",
        ("notional", "min_notional"),
        "held: the venue would refuse it",
    ),
    CatalogueRow(Code.LOT_SIZE, "The quantity is no whole number of lots.", ("qty", "lot_size"), "held"),
    CatalogueRow(Code.TICK_SIZE, "The limit price is no whole number of ticks.", ("limit_price", "tick_size"), "held"),
    CatalogueRow(Code.UNKNOWN_SYMBOL, "The symbol is not configured under `instruments`.", ("symbol",), "held"),
    CatalogueRow(
        Code.DUPLICATE_INTENT,
        "Another intent was decided under this id before. An intent has one decision, so this one is set aside "
        "as rejected; the same intent delivered twice is not an error and answers nothing.",
        ("intent_id",),
        "held",
    ),
)


def catalogue() -> tuple[CatalogueRow, ...]:
    """Every denial code with its meaning and its numbers."""
    return _ROWS
