"""A session writes down what it runs under: once for each configuration, whole or not at all, and never a secret."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from backtest.parity.session_config import changes, session_config
from core.config import Config, load_config
from core.config.record import record_config, recorded_configs
from core.errors import ConfigError

NS = 1_000_000_000
MONDAY = 1_704_067_200 * NS


def installation(root: Path, base: dict[str, Any], params: dict[str, Any], **environ: str) -> Config:
    """A configuration below ``root`` that writes there."""
    (root / "config").mkdir(parents=True, exist_ok=True)
    (root / "config" / "base.yaml").write_text(
        json.dumps(
            {
                "app": {"log_dir": "session/journals", "ledger_dir": "session/ledgers"},
                "instruments": {"BTC/USDT": {"tick_size": "0.01", "lot_size": "0.00001", "taker_fee": "0.001"}},
                **base,
            }
        )
    )
    entry = {
        "id": "one",
        "class": "tests.support.backtests.parity_strategies.Nervous",
        "symbols": ["BTC/USDT"],
        "events": ["md.trades.*"],
        "params": params,
    }
    (root / "config" / "strategies.yaml").write_text(json.dumps({"strategies": [entry]}))
    (root / "session" / "ledgers").mkdir(parents=True, exist_ok=True)
    return load_config(root, environ=environ)


def test_a_second_start_under_another_configuration_keeps_both_and_the_latest_start_counts(tmp_path: Path) -> None:
    half = installation(tmp_path, {"paper": {"participation": 0.5}}, {"qty": 0.1})
    full = installation(tmp_path, {"paper": {"participation": 1.0}}, {"qty": 0.1})

    for number, config in enumerate((half, full, full, half)):
        assert record_config(config, MONDAY + number * NS) is not None

    records = recorded_configs(tmp_path / "session" / "journals")
    assert [each.shown["paper"]["participation"] for each in records] == [1.0, 0.5]
    assert [each.started for each in records] == ["2024-01-01T00:00:02+00:00", "2024-01-01T00:00:03+00:00"]
    found = session_config(tmp_path / "session", full)
    assert found.config.paper.participation == 0.5
    assert found.remarks == (
        "it was started under 2 configurations, of which the latest is taken; they differ in paper.participation 1 → "
        "0.5",
    )


def test_what_was_recorded_decides_and_paths_and_addresses_are_todays(tmp_path: Path) -> None:
    then = installation(tmp_path, {"risk": {"daily_loss_usd_cap": 77.0}, "redis": {"key_prefix": "then"}}, {"qty": 0.1})
    record_config(then, MONDAY)
    now = installation(tmp_path, {"redis": {"key_prefix": "now"}}, {"qty": 0.2, "every": 5})

    found = session_config(tmp_path / "session", now).config

    assert found.strategies == then.strategies
    assert found.risk == then.risk
    assert found.instruments == then.instruments
    assert found.redis.key_prefix == "now"
    assert found.root == now.root
    assert [str(each) for each in changes(found, now)] == [
        "risk.daily_loss_usd_cap 77 → 1000",
        "strategies.one.params.qty 0.1 → 0.2",
        "strategies.one.params.every — → 5",
    ]


def test_no_secret_reaches_the_record_and_a_replay_takes_it_from_today(tmp_path: Path) -> None:
    secrets = {
        "NJORD_EXCHANGE__API_KEY": "key-of-the-venue-1234",
        "NJORD_EXCHANGE__API_SECRET": "secret-of-the-venue-5678",
        "NJORD_REDIS__URL": "redis://user:password-of-redis@127.0.0.1:6379/0",
    }
    config = installation(tmp_path, {}, {"qty": 0.1, "news_api_key": "key-of-the-news-9012"}, **secrets)

    path = record_config(config, MONDAY)

    assert path is not None
    text = path.read_text()
    assert not [each for each in ("1234", "5678", "password-of", "9012") if each in text]
    found = session_config(tmp_path / "session", config).config
    assert found.strategies[0].params["news_api_key"] == "key-of-the-news-9012"
    assert found.exchange.api_key == config.exchange.api_key
    assert not changes(found, config)


def test_nothing_is_left_out_of_a_record_however_much_or_deep(tmp_path: Path) -> None:
    listed = {f"C{n}/USDT": {"tick_size": "0.01", "lot_size": "0.001"} for n in range(2_000)}
    listed["BTC/USDT"] = {"tick_size": "0.01", "lot_size": "0.00001"}
    levels = {"a": {"b": {"c": {"d": {"e": {"f": 1, "api_key": "key-of-the-venue-1234"}}}}}}
    config = installation(tmp_path, {"instruments": listed}, {"levels": levels})

    path = record_config(config, MONDAY)

    assert path is not None
    assert "key-of" not in path.read_text()
    found = session_config(tmp_path / "session", config).config
    assert (found.instruments, found.strategies) == (config.instruments, config.strategies)


def test_a_folder_that_cannot_be_written_to_does_not_keep_a_session_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = installation(tmp_path, {}, {"qty": 0.1})
    (tmp_path / "session" / "journals").write_text("a file where the folder should be")

    assert record_config(config, MONDAY) is None
    assert "could not be written down" in caplog.text


def test_a_start_that_dies_while_writing_leaves_no_record_that_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = installation(tmp_path, {}, {"qty": 0.1})

    def dies(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", dies)
    with pytest.raises(KeyboardInterrupt):
        record_config(config, MONDAY)

    assert recorded_configs(tmp_path / "session" / "journals") == ()


def test_starts_of_one_process_number_in_several_containers_do_not_get_in_each_others_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = installation(tmp_path, {}, {"qty": 0.1})
    sync, meanwhile = os.fsync, []

    def other_start(file: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        meanwhile.append(record_config(config, MONDAY + NS))
        sync(file)

    monkeypatch.setattr(os, "fsync", other_start)

    assert record_config(config, MONDAY) is not None
    assert meanwhile[0] is not None
    assert len(recorded_configs(tmp_path / "session" / "journals")) == 1


def test_a_record_of_another_shape_is_refused_in_words(tmp_path: Path) -> None:
    config = installation(tmp_path, {}, {"qty": 0.1})
    path = record_config(config, MONDAY)
    assert path is not None
    path.write_text('{"started": "2024", "config": {"paper": {"speed": 3}}}')
    with pytest.raises(ConfigError, match=r"expected a configuration as this version has them, got paper\.speed"):
        session_config(tmp_path / "session", config)
