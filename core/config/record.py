"""What a session ran under: the configuration, its secrets masked, beside the journals that came of it.

Each configuration has a file of its own, ``config.{hash}.json`` in ``{app.log_dir}``. A start under another one adds
a file and touches no other, so that whoever reads the journals later need not guess.
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


def record_config(config: Config, now_ns: int) -> Path | None:
    """Write down what a session starts under, whole or not at all; None where the folder cannot be written to.

    That is no reason not to start: the journals of the same folder will say so, and louder.

    Args:
        config: what is in force; secrets stay out.
        now_ns: the time of the start, UTC epoch nanoseconds.
    """
    shown = config.shown()
    name = hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:_DIGITS]
    path = config.log_dir / _PATTERN.replace("*", name)
    started = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).isoformat()
    text = json.dumps({"started": started, "config": shown}, indent=1) + "\n"
    # A name that no other start uses, also where daemons in containers share the folder and all are process 1.
    part = path.with_name(f".{path.name}.{os.getpid()}.{now_ns}")  # ambient: likewise
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w") as file:
            file.write(text)
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
    found = [_read(path) for path in folder.glob(_PATTERN)]
    return tuple(sorted(found, key=lambda each: (each.started, each.path.name)))


def _read(path: Path) -> RecordedConfig:
    try:
        plain = json.loads(path.read_bytes())
        return RecordedConfig(path, str(plain["started"]), dict(plain["config"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: expected the record of a configuration, as a session writes it when it starts, got "
            f"{type(error).__name__}: {error}; move the file away to do without it"
        ) from None
