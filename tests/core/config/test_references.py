"""References in configured values: ``~`` and ``${NAME}`` in paths from every source, and what a missing one says."""

from __future__ import annotations

import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from core.config import Config, load_config
from core.errors import ConfigError

HOME = {"HOME": "/home/trader", "DISK": "/mnt/fast"}


def loaded(
    root: Path, base: str = "", environ: Mapping[str, str] = HOME, overrides: Mapping[str, Any] | None = None
) -> Config:
    (root / "config").mkdir(exist_ok=True)
    (root / "config" / "base.yaml").write_text(base)
    return load_config(root, environ=environ, overrides=overrides)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("~/njord", "/home/trader/njord"),
        ("~", "/home/trader"),
        ("${DISK}/njord", "/mnt/fast/njord"),
        ("$${DISK}/njord", "${DISK}/njord"),
        ("var/~x", "var/~x"),
        ("./~", "~"),
        ("~root/x", f"{pwd.getpwnam('root').pw_dir}/x"),
    ],
)
def test_a_path_takes_home_folders_and_variables_from_every_source(tmp_path: Path, text: str, path: str) -> None:
    configs = (
        loaded(tmp_path, f"app: {{data_dir: '{text}'}}"),
        loaded(tmp_path, environ={**HOME, "NJORD_APP__DATA_DIR": text}),
        loaded(tmp_path, overrides={"app": {"data_dir": text}}),
    )
    assert [config.app.data_dir for config in configs] == [Path(path)] * 3


def test_a_text_that_is_no_path_keeps_its_tilde(tmp_path: Path) -> None:
    assert loaded(tmp_path, "redis: {key_prefix: '~/x'}").redis.key_prefix == "~/x"


def test_a_reference_in_the_environment_stays_as_typed_where_no_path_stands(tmp_path: Path) -> None:
    config = loaded(tmp_path, environ={**HOME, "NJORD_REDIS__KEY_PREFIX": "${DISK}"})
    assert config.redis.key_prefix == "${DISK}"


@pytest.mark.parametrize(
    ("base", "environ", "expected"),
    [
        ("app:\n  data_dir: ${NOPE}/x\n", {}, "base.yaml:2: app.data_dir: environment variable NOPE is not set"),
        ("app:\n  data_dir: ~/x\n", {}, "base.yaml:2: app.data_dir: expected HOME to be set for ~"),
        ("app:\n  data_dir: ~nobody-here/x\n", HOME, "base.yaml:2: app.data_dir: expected ~ or ~user with a user"),
        (
            "",
            {"NJORD_APP__DATA_DIR": "${NOPE}"},
            "environment variable NJORD_APP__DATA_DIR: app.data_dir: environment variable NOPE is not set",
        ),
        (
            "app:\n  data_dir: ${DISK}/x\n",
            {"DISK": ""},
            "base.yaml:2: app.data_dir: environment variable DISK is empty",
        ),
        ("", {"NJORD_APP__DATA_DIR": ""}, "NJORD_APP__DATA_DIR: app.data_dir: expected a path, got an empty text"),
        ("redis:\n  url: redis://:a${b c}d@h\n", {}, "got something else (not shown; `$${` stands for `${`)"),
        ("redis:\n  url: redis://:a${hush}d@h\n", {}, "environment variable of a name that is not shown is not set"),
    ],
)
def test_a_reference_to_nothing_is_refused_with_its_place(
    tmp_path: Path, base: str, environ: Mapping[str, str], expected: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        loaded(tmp_path, base, environ)
    assert expected in str(refusal.value)
    assert "hush" not in str(refusal.value)
