"""Loading the configuration: defaults, ``base.yaml``, ``strategies.yaml``, secrets, environment, explicit overrides.

Later ones win. Everything that is wrong is reported at once, each with its file and line, the key, what was
expected and the nearest valid key; values of secrets are never shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from core.config.keys import ConfigKey, catalogue, unknown_key
from core.config.layers import (
    Layer,
    Problem,
    environment_layer,
    leaves,
    merged,
    override_layer,
    secrets_layer,
    yaml_layer,
)
from core.config.model import INCONSISTENT, Config
from core.config.schema import PATTERNS
from core.config.yaml import KeyPath
from core.errors import ConfigError
from core.logging.redaction import is_secret_name, redact_text

__all__ = ["Config", "ConfigKey", "catalogue", "feature_enabled", "live_enabled", "load_config"]

Feature = Literal["LIVE", "METRICS", "ALERTS", "AUDIT"]
_PREAMBLE: Final = re.compile(r"^.*?\bshould (?:be|have) ")
_DECIMAL: Final = re.compile(r"Decimal\('([^']*)'\)")
_SHOWN: Final = 80  # characters of a wrong value that an error quotes


def load_config(
    root: Path | str = ".",
    *,
    base: Path | str | None = None,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration of the installation in ``root``.

    ``base`` names another file than ``root/config/base.yaml``; ``strategies.yaml`` and ``secrets.enc.yaml`` are
    then taken from its folder. ``overrides`` is nested like the files and wins over everything.

    Raises:
        ConfigError: all that is wrong, one line each.
    """
    root = Path(root)
    base = root / "config" / "base.yaml" if base is None else Path(base)
    layers = [_base(base, environ), _strategies(base.with_name("strategies.yaml"), environ)]
    secret = _secrets(base.with_name("secrets.enc.yaml"), environ)
    layers.append(secret)
    layers.append(environment_layer(environ, merged(layers).values))
    layers.append(override_layer(overrides or {}))
    whole = merged(layers)
    config, problems = _validated(whole)
    problems = [*whole.problems, *problems]
    if problems or config is None:
        raise ConfigError(_report(problems))
    config._root = root
    config._secrets = frozenset(_secret_texts(whole))
    return config


def live_enabled(config: Config, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether orders may reach a real venue: ``app.env=live`` and ``NJORD_ENABLE_LIVE=1``, both."""
    return config.app.env == "live" and feature_enabled("LIVE", environ)


def feature_enabled(feature: Feature, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the gate ``NJORD_ENABLE_<feature>`` stands open: its value is exactly ``1``."""
    return environ.get(f"NJORD_ENABLE_{feature}") == "1"


def _base(path: Path, environ: Mapping[str, str]) -> Layer:
    layer = Layer(str(path))
    text = _text(path, layer)
    if text is None and not layer.problems:
        layer.unread = True
        layer.fail(
            "file not found. Run from the project's folder or name the file with --config; to start with the "
            "defaults, create it with the one line `app: {env: paper}`"
        )
    return layer if text is None else yaml_layer(str(path), text, environ)


def _strategies(path: Path, environ: Mapping[str, str]) -> Layer:
    layer = Layer(str(path))
    text = _text(path, layer)
    if text is None:
        return layer
    layer = yaml_layer(str(path), text, environ)
    for key in [key for key in layer.values if key != "strategies"]:
        layer.fail("unknown key; expected only `strategies` in this file, the rest belongs into base.yaml", (key,))
        del layer.values[key]
    return layer


def _secrets(path: Path, environ: Mapping[str, str]) -> Layer:
    layer = Layer(str(path))
    text = _text(path, layer)
    if text is None:
        return layer
    try:
        return secrets_layer(path, text, environ)
    except ConfigError as error:
        layer.unread = True
        layer.fail(str(error), where="")
        return layer


def _text(path: Path, layer: Layer) -> str | None:
    """The file's text; None where there is none, with a problem noted unless the file is simply absent."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        layer.unread = True
        layer.fail(f"expected UTF-8 text, got byte 0x{error.object[error.start]:02x} at offset {error.start}")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        layer.unread = True
        layer.fail(f"cannot be read: {getattr(error, 'strerror', None) or error}. Expected a readable file")
    return None


def _validated(whole: Layer) -> tuple[Config | None, list[Problem]]:
    try:
        return Config.model_validate(whole.values), []
    except ValidationError as error:
        known = {problem.path for problem in whole.problems if problem.path}
        problems = [p for details in error.errors(include_url=False) for p in _problems(details, whole)]
        return None, [p for p in problems if not any(p.path[: len(path)] == path for path in known)]


def _problems(details: ErrorDetails, whole: Layer) -> Iterator[Problem]:
    path: KeyPath = tuple(part for part in details["loc"] if part != "[key]")
    if details["type"] == INCONSISTENT:
        # What does not fit together because a file could not be read is no news.
        for broken, text in () if whole.unread else details["ctx"]["broken"]:
            yield Problem(_origin(broken, whole), broken, text)
    elif details["type"] == "extra_forbidden":
        yield Problem(_origin(path, whole), path, unknown_key(path))
    elif details["type"] == "missing":
        yield Problem(_origin(path, whole), path, "required key is missing")
    else:
        yield Problem(_origin(path, whole), path, f"{_expected(details)}, got {_got(details['input'], path, whole)}")


def _expected(details: ErrorDetails) -> str:
    if details["type"] == "string_pattern_mismatch":
        return "expected " + PATTERNS.get(details["ctx"]["pattern"], f"text of the form {details['ctx']['pattern']}")
    if details["type"] in ("model_type", "model_attributes_type", "mapping_type", "dict_type"):
        return "expected keys and values below this one"
    if details["type"] == "tuple_type":
        return "expected a list"
    if details["type"] == "value_error":
        return str(details["ctx"]["error"]).partition(", got")[0]
    what = (
        _PREAMBLE.sub("", _DECIMAL.sub(r"\1", details["msg"]))
        .partition(", unable")[0]
        .partition(" after validation")[0]
    )
    return f"expected a number {what}" if what.startswith(("greater", "less")) else f"expected {what}"


def _got(value: Any, path: KeyPath, whole: Layer) -> str:
    hidden = any(path[:end] in whole.hidden for end in range(1, len(path) + 1))
    if hidden or any(is_secret_name(str(part)) for part in path):
        return f"{type(value).__name__} (value not shown)"
    shown = redact_text(repr(value))
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


def _origin(path: KeyPath, whole: Layer) -> str:
    """Where the key stands, or the nearest key above it that stands somewhere."""
    for end in range(len(path), 0, -1):
        if path[:end] in whole.origins:
            return whole.origins[path[:end]]
    return ""


def _secret_texts(whole: Layer) -> Iterator[str]:
    """Texts that came from the secrets file, or from the environment under a name that marks a secret."""
    for path, value in leaves(whole.values):
        if path in whole.hidden and isinstance(value, str) and value:
            yield value


def _report(problems: list[Problem]) -> str:
    lines = list(dict.fromkeys(str(problem) for problem in problems))
    if len(lines) == 1:
        return lines[0]
    return f"{len(lines)} problems in the configuration:\n" + "\n".join(f"  {line}" for line in lines)
