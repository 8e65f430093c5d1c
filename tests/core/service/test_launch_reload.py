"""A reload puts limits and strategies in force; a start within the same process finds its files where they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.config import Config, load_config
from core.service import launch, supervisor
from core.service.daemon import Service
from risk.daemon import SPEC
from tests.conftest import ROOT


def configured(folder: Path, cap: int) -> Config:
    environ = {
        "NJORD_APP__LEDGER_DIR": str(folder / "ledgers"),
        "NJORD_APP__LOG_DIR": str(folder / "journals"),
        "NJORD_RISK__ORDERS_PER_MIN_CAP": str(cap),
    }
    return load_config(ROOT, environ=environ)


class Restarts:
    """Starts a service, reloads, and starts it again as after a refusal of the disk."""

    def __init__(self, name: str, start: Callable[[None], Service], settings: Any, **lines: Any) -> None:
        self._start = start

    async def run(self) -> None:
        first = self._start(None)
        assert first.host.ledger is not None
        path, folder = first.host.ledger.path, first.host.journals.folder
        first.reloader.reload()
        first.host.abandon()
        second = self._start(None)
        assert second.host.ledger is not None
        assert (second.host.ledger.path, second.host.journals.folder) == (path, folder)
        assert second.host.component.limits.orders_per_min_cap == 7  # type: ignore[attr-defined]  # a risk engine
        second.host.abandon()


async def test_a_reload_does_not_move_the_files_of_a_running_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "Supervisor", Restarts)
    config, changed = configured(tmp_path / "old", 5), configured(tmp_path / "new", 7)
    await launch._serve(SPEC, config, lambda: changed, launch.service_settings(SPEC, config, False, None))
