"""The metrics of a daemon: counts are counters, the form is the one that is asked for, the feed's are among them."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as classic

from core.bus import RedisBus
from core.service.health import HealthServer
from core.service.host import ComponentHost, JournalSet
from core.service.kill_watch import KillSwitchWatch
from core.service.metrics import ServiceMetrics
from core.service.reload import Reloader
from risk.engine import RiskEngine
from tests.conftest import ROOT
from tests.support.waiting import patience

OPEN_METRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
GAUGES = {"njord_journal_trouble", "njord_kill_switch_tripped", "njord_loop_lag_seconds"}


def parsed(text: str) -> list[Metric]:
    """The families of a page in OpenMetrics' form; the parser refuses what is not."""
    return list(open_metrics(text))  # type: ignore[no-untyped-call]  # the library's parser has no types


class Pages:
    """The metrics of one host, as its health server hands them out."""

    def __init__(self, folder: Path, feed: Mapping[str, int]) -> None:
        from core.config import load_config
        from risk.daemon import build

        component: RiskEngine = build(load_config(ROOT, environ={}))
        self.host = ComponentHost(component, JournalSet(folder))
        bus = RedisBus("redis://127.0.0.1:1/0")
        watch = KillSwitchWatch(str(folder / "killswitch"))
        metrics = ServiceMetrics(self.host, bus, Reloader("risk_engine", bus), watch, lambda: feed)
        self.server = HealthServer(lambda: {"alive": True, "ready": True}, metrics.registry, "127.0.0.1", 0)

    def ask(self, accept: str) -> tuple[str, str]:
        request = urllib.request.Request(f"{self.server.url}/metrics", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=patience(10)) as answer:
            return answer.headers["Content-Type"], answer.read().decode()


async def page(folder: Path, accept: str, feed: Mapping[str, int] | None = None) -> tuple[str, str]:
    import asyncio

    pages = Pages(folder, feed or {})
    pages.host.counters.errors["RejectedError"] = 3
    pages.host.counters.lost["md_ingest:md.trades.BTC/USDT"] = 4
    await pages.server.start()
    answer = await asyncio.to_thread(pages.ask, accept)
    await pages.server.close()
    return answer


async def test_every_count_is_a_counter_with_the_suffix_and_every_state_a_gauge(tmp_path: Path) -> None:
    _, text = await page(tmp_path, "text/plain")
    families = {family.name: family.type for family in classic(text) if family.name.startswith("njord_")}
    assert {name for name, kind in families.items() if kind == "gauge"} == GAUGES
    assert {kind for name, kind in families.items() if name not in GAUGES} == {"counter"}
    samples = {sample.name for family in classic(text) for sample in family.samples if family.name not in GAUGES}
    assert all(name.endswith("_total") for name in samples if name.startswith("njord_"))
    assert "_created" not in text


async def test_a_scraper_that_accepts_open_metrics_gets_it(tmp_path: Path) -> None:
    kind, text = await page(tmp_path, OPEN_METRICS)
    assert kind.startswith("application/openmetrics-text")
    counts = {s.name: s.value for family in parsed(text) for s in family.samples if s.name.startswith("njord_")}
    assert counts["njord_errors_total"] == 3
    assert counts["njord_broadcasts_lost_total"] == 4
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize("accept", ["", "*/*", "text/html"])
async def test_anybody_else_gets_the_text_format(tmp_path: Path, accept: str) -> None:
    kind, text = await page(tmp_path, accept)
    assert kind.startswith("text/plain")
    assert 'njord_errors_total{daemon="risk_engine",error="RejectedError"} 3.0' in text


async def test_what_the_feed_counts_is_among_the_metrics(tmp_path: Path) -> None:
    _, text = await page(tmp_path, "text/plain", {"reconnects": 2, "back_fills": 5})
    assert 'njord_feed_reconnects_total{daemon="risk_engine"} 2.0' in text
    assert 'njord_feed_back_fills_total{daemon="risk_engine"} 5.0' in text


async def test_the_process_itself_is_measured(tmp_path: Path) -> None:
    _, text = await page(tmp_path, "text/plain")
    assert "process_resident_memory_bytes" in text
    assert "process_open_fds" in text
