"""The table of daemons: everything that names one agrees with its row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apps import registry
from core.config import Config
from core.daemons import BEHIND_THE_FEED, DAEMONS, FEED, LEDGERED, Daemon, daemon_named
from core.errors import ConfigError
from core.service.launch import service_settings
from core.service.spec import load_spec
from core.topics import TABLE
from tests.conftest import ROOT

RESERVED = {8080, 9091, 9092, 9093, 9094, 9095, 9100}  # dashboard, exporter, controller, alerts, audit, others' tools
ROWS = [pytest.param(row, id=row.name) for row in DAEMONS]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_leads_to_the_spec_of_its_name(row: Daemon) -> None:
    assert load_spec(row).name == row.name


@pytest.mark.parametrize("row", ROWS)
def test_a_daemon_is_the_package_of_its_name_in_apps(row: Daemon) -> None:
    assert (ROOT / "apps" / row.name / "__main__.py").is_file()


@pytest.mark.parametrize("row", ROWS)
def test_make_starts_a_daemon_by_the_target_of_its_row(row: Daemon) -> None:
    makefile = (ROOT / "Makefile").read_text()

    recipe = re.search(rf"^{row.target}:.*\n\t(.*)$", makefile, re.MULTILINE)

    assert recipe is not None
    assert f"-m apps.{row.name} " in recipe[1]


def test_every_app_that_lives_on_the_bus_has_a_row() -> None:
    launched = {
        path.parent.name
        for path in Path(ROOT / "apps").glob("*/main.py")
        if re.search(r"\blaunch\(|Service\(", path.read_text())
    }

    assert launched == {row.name for row in DAEMONS}


def test_every_port_is_its_own_from_9110_up_and_nobody_elses() -> None:
    ports = [row.port for row in DAEMONS]

    assert len(set(ports)) == len(ports)
    assert min(ports) >= 9110
    assert not RESERVED & set(ports)


@pytest.mark.parametrize("row", ROWS)
def test_a_daemon_answers_on_the_port_of_its_row_unless_configured_otherwise(row: Daemon) -> None:
    spec = load_spec(row)
    moved = Config.model_validate({"services": {"base_port": 9200}})

    assert service_settings(spec, Config.model_validate({}), False, None).port == row.port
    assert service_settings(spec, moved, False, None).port == row.port + 90
    assert service_settings(spec, moved, False, 12345).port == 12345


def test_the_embedded_fleet_is_the_table_without_the_feed() -> None:
    assert tuple(spec.name for spec in registry.BEHIND_THE_FEED) == BEHIND_THE_FEED
    assert (FEED, *BEHIND_THE_FEED) == tuple(row.name for row in DAEMONS if not row.only_listens)


def test_who_produces_a_topic_does_not_only_listen_and_who_only_listens_consumes_none() -> None:
    listening = {row.name for row in DAEMONS if row.only_listens}

    assert not listening & {name for topic in TABLE for name in (*topic.producers, *topic.consumers)}


def test_who_asks_the_kill_switch_keeps_a_ledger_in_which_its_state_is_on_record() -> None:
    assert {row.name for row in DAEMONS if row.guarded} <= set(LEDGERED)


def test_an_unknown_daemon_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"daemon 'risk': expected one of md_ingest, .*paper_trader"):
        daemon_named("risk")


def test_a_row_whose_module_holds_another_spec_is_refused() -> None:
    row = Daemon("nobody", spec="risk.daemon", port=9199, target="run-nobody", summary="nothing")

    with pytest.raises(ConfigError, match=r"risk\.daemon: expected SPEC, the DaemonSpec of nobody"):
        load_spec(row)
