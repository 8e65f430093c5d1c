"""Histories of volume and price: a shape that any keeper of data can offer, and series that cannot be misread."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import ContractError
from core.history import HistorySeries, PriceHistory, VolumeHistory

TIMES = np.array([60, 120, 180], dtype=np.int64)


class Columns:
    """A keeper of columns that knows nothing of the protocols."""

    def volumes(self, symbol: str, timeframe: str, start_ns: int, end_ns: int) -> HistorySeries:
        inside = (start_ns < TIMES) & (end_ns >= TIMES)
        return HistorySeries(TIMES[inside], np.array([1.0, 2.0, 3.0])[inside])

    closes = volumes


def test_whoever_has_the_methods_is_a_history() -> None:
    volumes: VolumeHistory = Columns()
    prices: PriceHistory = Columns()

    assert isinstance(volumes, VolumeHistory)
    assert isinstance(prices, PriceHistory)
    assert volumes.volumes("BTC/USDT", "1m", 60, 180).values.tolist() == [2.0, 3.0]
    assert len(prices.closes("BTC/USDT", "1m", 0, 60)) == 1


@pytest.mark.parametrize(
    ("times", "values", "reason"),
    [
        ([60, 120], [1.0], "equal length"),
        ([120, 60], [1.0, 2.0], "strictly ascending"),
        ([60, 60], [1.0, 2.0], "strictly ascending"),
        ([60, 120], [1.0, float("nan")], "finite"),
    ],
)
def test_a_series_out_of_order_or_with_holes_in_it_is_refused(
    times: list[int], values: list[float], reason: str
) -> None:
    with pytest.raises(ContractError, match=reason):
        HistorySeries(np.array(times, dtype=np.int64), np.array(values))
