"""The survey of a recording: every symbol that it has data of, and the true reasons for what cannot be used."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from core import codec
from core.clock import NS_PER_S
from core.contracts import TradeEvent
from core.instruments import Instrument, Instruments
from core.market.capture import Recording
from core.market.survey import survey

INSTRUMENTS = Instruments(
    [
        Instrument("BTC/USDT", Decimal("0.01"), Decimal("0.00001")),
        Instrument("ETH/USDT", Decimal("0.01"), Decimal("0.0001")),
    ]
)
T0 = 1_723_161_254 * NS_PER_S


def trade_line(number: int, symbol: str = "BTCUSDT", more: str = "") -> str:
    return (
        f'{T0 + number} {{"stream":"x@trade","data":{{"e":"trade","E":1723161255343,"s":"{symbol}","t":{number},'
        f'"p":"100.0","q":"1.0","T":1723161255342,"m":true,"M":true{more}}}}}'
    )


def recording(path: Path, *lines: str) -> Recording:
    path.write_text("\n".join(lines) + "\n")
    return Recording.at(path)


def test_a_symbol_that_first_appears_in_the_last_line_is_in_the_survey(tmp_path: Path) -> None:
    lines = [*(trade_line(n) for n in range(12_000)), trade_line(1, "ETHUSDT")]

    findings = survey(recording(tmp_path / "late.raw", *lines), INSTRUMENTS)

    assert findings.symbols == ("BTC/USDT", "ETH/USDT")
    assert not findings.refusals


def test_a_symbol_of_a_journal_that_first_appears_in_the_last_line_is_in_the_survey(tmp_path: Path) -> None:
    trades = [TradeEvent("BTC/USDT", 1.0, 1.0, "buy", T0, str(n), "v") for n in range(6_000)]
    trades.append(TradeEvent("ETH/USDT", 1.0, 1.0, "buy", T0, "1", "v"))

    findings = survey(recording(tmp_path / "md.ndjson", *(codec.encode(t).decode() for t in trades)), INSTRUMENTS)

    assert findings.symbols == ("BTC/USDT", "ETH/USDT")


def test_a_symbol_whose_first_messages_are_broken_is_in_the_survey(tmp_path: Path) -> None:
    broken = trade_line(1, "ETHUSDT").replace('"p":"100.0"', '"p":"-1"')

    findings = survey(recording(tmp_path / "x.raw", trade_line(1), broken, trade_line(2, "ETHUSDT")), INSTRUMENTS)

    assert findings.symbols == ("BTC/USDT", "ETH/USDT")


def test_lines_that_cannot_be_used_are_counted_under_their_reason(tmp_path: Path) -> None:
    lines = [trade_line(n, "DOGEUSDT") for n in range(3)] + [trade_line(n, more=',"X":"MARKET"') for n in range(2)]

    findings = survey(recording(tmp_path / "x.raw", *lines), INSTRUMENTS)

    assert findings.symbols == ()
    unknown, futures = findings.reasons
    assert "unknown symbol 'DOGEUSDT'" in unknown
    assert unknown.endswith("(3 lines)")
    assert "is of USD-M futures" in futures
    assert futures.endswith("(2 lines)")


@pytest.mark.parametrize("name", ["btcusdt", "ethusdt"])
def test_a_recorded_capture_has_its_symbol(recorded_data: Path, name: str) -> None:
    path = recorded_data / f"binance_spot_{name}_20240808.raw.gz"

    assert survey(Recording.at(path), INSTRUMENTS).symbols == (f"{name[:3].upper()}/USDT",)
