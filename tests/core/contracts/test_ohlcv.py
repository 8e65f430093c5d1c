"""The bar contract: frozen, typed, and the same after a round trip."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from core.codec import decode, encode
from core.contracts import OHLCVBar
from core.errors import ContractError

BAR = OHLCVBar("ATOM/USDT", "1m", 60_000_000_000, 120_000_000_000, 10.0, 12.0, 9.0, 11.0, 5.5)


def test_a_bar_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        BAR.close = 1.0  # type: ignore[misc]  # that is the point


def test_the_fields_of_the_specification_come_first() -> None:
    names = ["symbol", "timeframe", "ts_open", "ts_close", "open", "high", "low", "close", "volume"]

    assert [f.name for f in fields(OHLCVBar)][:9] == names


def test_a_bar_survives_dict_and_bytes() -> None:
    assert OHLCVBar.from_dict(BAR.to_dict()) == BAR
    assert decode(OHLCVBar, encode(BAR)) == BAR


@pytest.mark.parametrize("change", [{"high": 10.5}, {"low": 0.0}, {"volume": -1.0}, {"ts_close": 60_000_000_000}])
def test_an_impossible_bar_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ContractError):
        OHLCVBar.from_dict(BAR.to_dict() | change)
