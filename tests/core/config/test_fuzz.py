"""Whatever comes in, a configuration comes out or a ConfigError, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.config import Config, catalogue, load_config
from core.config.keys import keys_at
from core.errors import ConfigError

SECTIONS = keys_at(())
KEYS = sorted({row.key.split(".")[-1] for row in catalogue()})
leaf = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.decimals()
    | st.sampled_from(["BTC/USDT", "1m", "${X}", "${", "$${X}", "md.trades.*", 10**400, "1e999999999", "\ud800"])
)
value = st.recursive(
    leaf,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=3),
    max_leaves=8,
)
section = st.dictionaries(st.sampled_from(KEYS) | st.text(), value, max_size=5)
mapping = st.dictionaries(st.sampled_from(SECTIONS) | st.text() | st.integers(), section | value, max_size=5)
tolerant = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "base.yaml").write_text("")
    return tmp_path


def outcome(root: Path, environ: Mapping[str, str] | None = None, overrides: Any = None) -> Config | ConfigError:
    try:
        return load_config(root, environ=environ or {}, overrides=overrides)
    except ConfigError as error:
        str(error).encode("utf-8", "backslashreplace")
        return error


@tolerant
@given(mapping)
@example({"risk": {"\ud800": 1}})
@example({1: {}})
@example({"instruments": {"BTC/USDT": {"tick_size": 10**400, "lot_size": "1e-999999"}}})
def test_any_mapping_gives_a_configuration_or_a_config_error(root: Path, overrides: dict[Any, Any]) -> None:
    assert isinstance(outcome(root, overrides=overrides), Config | ConfigError)


@tolerant
@given(st.text())
@example("a: " + "[" * 5000)
@example("risk: &a [*a]")
@example("\ufeffrisk: {}")
def test_any_file_gives_a_configuration_or_a_config_error(root: Path, text: str) -> None:
    (root / "config" / "base.yaml").write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    assert isinstance(outcome(root), Config | ConfigError)


@tolerant
@given(mapping)
def test_any_yaml_tree_gives_a_configuration_or_a_config_error(root: Path, tree: dict[Any, Any]) -> None:
    import json

    (root / "config" / "base.yaml").write_text(json.dumps(tree, default=str))
    assert isinstance(outcome(root, {"X": "1"}), Config | ConfigError)


@tolerant
@given(
    st.dictionaries(
        st.builds("NJORD_{}__{}".format, st.sampled_from([s.upper() for s in SECTIONS]) | st.text(), st.text())
        | st.sampled_from([row.env for row in catalogue() if row.env]),
        st.text(),
        max_size=5,
    )
)
def test_any_environment_gives_a_configuration_or_a_config_error(root: Path, environ: dict[str, str]) -> None:
    assert isinstance(outcome(root, environ), Config | ConfigError)


def test_a_mapping_that_contains_itself_is_refused(root: Path) -> None:
    endless: dict[str, Any] = {}
    endless["exchange"] = endless
    assert "nested deeper" in str(outcome(root, overrides=endless))
