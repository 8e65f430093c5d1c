"""The log file, byte for byte. ``NJORD_UPDATE_GOLDEN=1 pytest tests/core/logging/test_snapshot.py`` writes it anew."""

from __future__ import annotations

import logging
import os
from datetime import datetime
from pathlib import Path

import structlog

from core.contracts import FillEvent
from core.logging import get_logger
from tests.support.log_setup import logging_to

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "logging.ndjson"


def log_a_little() -> None:
    log = get_logger("risk.engine")
    log.debug("not written")
    log.info("started", port=9100, symbols=("BTC/USDT", "ETH/USDT"))
    log.warning("order refused", code="PER_ORDER_CAP", notional=1250.0, cap=1000.0)
    log.info("fill", fill=FillEvent("o-1", "BTC/USDT", "buy", 0.5, 60_000.0, 30.0, 1_723_118_400_000_000_000))
    log.error("venue refused", api_key="AKIA0123", url="https://user:pw@venue/x?signature=abcdef", secret=None)
    with structlog.contextvars.bound_contextvars(intent_id="i-1"):
        log.bind(service="paper_trader").info("in context", level="shadowed", elapsed_s=float("nan"))
    logging.getLogger("aiohttp.access").warning("GET %s", "/health", extra={"status": 200})


def test_the_log_file_is_as_it_was(tmp_path: Path) -> None:
    with logging_to(tmp_path, service="risk_engine"):
        log_a_little()
    written = (tmp_path / "app.ndjson").read_text()
    if os.environ.get("NJORD_UPDATE_GOLDEN") == "1":
        GOLDEN.write_text(written)
    assert written == GOLDEN.read_text()


def test_every_line_is_json_with_an_iso_timestamp_and_a_level(tmp_path: Path) -> None:
    with logging_to(tmp_path) as (_, lines):
        log_a_little()
        found = lines()
    assert len(found) == 6
    for line in found:
        assert datetime.fromisoformat(line["timestamp"]).utcoffset() is not None
        assert line["level"] in ("debug", "info", "warning", "error", "critical")
        assert list(line)[:5] == ["timestamp", "level", "service", "logger", "event"]
