"""Options of the feed commands that cannot be obeyed together are refused with a reason, before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.fleet import main as fleet
from apps.md_ingest import main as md_ingest
from core.errors import ConfigError
from tests.support.fleet_config import busy_installation

VENUE = {"venue": "binanceus", "symbol": ["BTC/USDT"]}
FEED = {"feed": "synthetic:1:1"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({**FEED, **VENUE}, "--feed and --venue: expected one of them"),
        ({**VENUE, "lockstep": True}, "--lockstep needs --feed"),
        ({**VENUE, "speed": "8x"}, "--speed needs --feed: a live venue has its own pace"),
        ({**VENUE, "channels": "ticker"}, "--channels needs --feed: a live venue gives trades, books and best prices"),
    ],
)
def test_the_feed_daemon_refuses_what_it_would_not_obey(
    options: dict[str, object], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NJORD_APP__LOG_DIR", str(tmp_path / "journals"))
    defaults: dict[str, object] = {
        "symbol": None, "venue": None, "feed": None, "speed": None, "channels": None, "lockstep": False,
        "followers": "", "config_root": busy_installation(tmp_path), "config": None, "port": None,
    }  # fmt: skip

    with pytest.raises(ConfigError, match=says):
        md_ingest.command(**{**defaults, **options})  # type: ignore[arg-type]
    assert not (tmp_path / "journals").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({**FEED, **VENUE}, "--feed and --venue: expected one of them"),
        ({**VENUE, "speed": "8x"}, "--speed: a live venue has its own pace"),
    ],
)
def test_the_fleet_refuses_what_it_would_not_obey(options: dict[str, object], says: str, tmp_path: Path) -> None:
    defaults: dict[str, object] = {
        "symbol": None, "venue": None, "feed": None, "speed": None, "no_screen": True, "json": False,
        "out": tmp_path / "out", "again": False, "config_root": busy_installation(tmp_path), "config": None,
    }  # fmt: skip

    with pytest.raises(ConfigError, match=says):
        fleet.command(**{**defaults, **options})  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
