"""The record of a session's configuration, secrets masked, beside the journals of the session.

Each configuration has a file of its own, ``config.{hash}.json`` in ``{app.log_dir}``, readable by its owner alone. A
start under another one adds a file and touches no other, so that a later reader of the journals need not guess.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from core.clock import NS_PER_S
from core.config.model import Config
from core.disk import make_private_folders, open_private
from core.errors import ConfigError

_PATTERN: Final = "config.*.json"
_DIGITS: Final = 16  # of the hash in a name
_log: Final = logging.getLogger("njord.config")


@dataclass(frozen=True)
class RecordedConfig:
    """A configuration as ``Config.shown`` gave it, and when a daemon last started under it (ISO 8601, UTC)."""

    path: Path
    started: str
    shown: Mapping[str, Any]


def config_hash(config: Config) -> str:
    """The hash of a configuration, its secrets masked: the same as in the name of its record."""
    return hashlib.sha256(json.dumps(config.shown(), sort_keys=True).encode()).hexdigest()[:_DIGITS]


def record_config(config: Config, now_ns: int) -> Path | None:
    """Write down the configuration that a session starts under; None where the folder cannot be written to.

    The file is written completely or not at all. A folder that refuses is no reason not to start: the journals of
    the same folder will report it, and louder.

    Args:
        config: the configuration in force; secrets stay out.
        now_ns: the time of the start, UTC epoch nanoseconds.
    """
    shown = config.shown()
    path = config.log_dir / _PATTERN.replace("*", config_hash(config))
    started = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).isoformat()
    text = json.dumps({"started": started, "config": shown}, indent=1) + "\n"
    # A name that no other start uses, also where daemons in containers share the folder and all are process 1.
    part = path.with_name(f".{path.name}.{os.getpid()}.{now_ns}")  # ambient: likewise
    try:
        make_private_folders(path.parent)
        with os.fdopen(open_private(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        _log.warning("%s: the configuration could not be written down: %s", path, error)
        return None
    return path


def recorded_configs(folder: Path) -> tuple[RecordedConfig, ...]:
    """Every configuration that a folder of journals was written under, the latest start last. Raises ConfigError."""
    records = [_read(path) for path in folder.glob(_PATTERN)]
    return tuple(sorted(records, key=lambda record: (record.started, record.path.name)))


def _read(path: Path) -> RecordedConfig:
    try:
        record = json.loads(path.read_bytes())
        return RecordedConfig(path, str(record["started"]), dict(record["config"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: expected the record of a configuration, as a session writes it when it starts, got "
            f"{type(error).__name__}: {error}; move the file away to do without it"
        ) from None
