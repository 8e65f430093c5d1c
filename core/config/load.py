"""Loading the configuration: defaults, ``base.yaml``, ``strategies.yaml``, secrets, environment, explicit overrides.

Later ones win. All faults are reported at once, each with its file and line, the key, what was expected and the
nearest valid key. Values of secrets are never shown.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from core.config.expectations import expectation
from core.config.keys import ConfigKey, catalogue, holds_secret, unknown_key
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
from core.config.model import INCONSISTENT, REDIS_URL, Config
from core.config.yaml import KeyPath
from core.errors import ConfigError
from core.logging.redaction import KnownSecrets, is_secret_name
from core.redis_address import RedisAddress, RedisAddressError

__all__ = ["Config", "ConfigKey", "catalogue", "feature_enabled", "live_enabled", "load_config"]

Feature = Literal["LIVE", "METRICS", "ALERTS", "AUDIT"]
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
        ConfigError: every fault, one line each.
    """
    root = Path(root)
    base = root / "config" / "base.yaml" if base is None else Path(base)
    layers = [_base(base, environ), _strategies(base.with_name("strategies.yaml"), environ)]
    layers.append(_secrets(base.with_name("secrets.enc.yaml"), environ))
    layers.append(environment_layer(environ, merged(layers).values))
    layers.append(override_layer(overrides or {}, environ))
    source = merged(layers)
    secrets = frozenset(_secret_texts(source))
    config, problems = _validated(source, KnownSecrets(secrets))
    problems = [*source.problems, *problems]
    if problems or config is None:
        raise ConfigError(KnownSecrets(secrets).redact_text(_report(problems)))
    config._root = root
    config._secrets = secrets
    config._hidden = frozenset(source.hidden)
    return config


def live_enabled(config: Config, environ: Mapping[str, str] = os.environ) -> bool:
    """True if orders may reach a real venue: ``app.env=live`` and ``NJORD_ENABLE_LIVE=1``, both."""
    return config.app.env == "live" and feature_enabled("LIVE", environ)


def feature_enabled(feature: Feature, environ: Mapping[str, str] = os.environ) -> bool:
    """True if the gate ``NJORD_ENABLE_<feature>`` stands open: its value is exactly ``1``."""
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
        layer.fail(str(error), place="")
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


def _validated(source: Layer, secrets: KnownSecrets) -> tuple[Config | None, list[Problem]]:
    try:
        return Config.model_validate(source.values), []
    except ValidationError as error:
        reported = {problem.path for problem in source.problems if problem.path}
        details = error.errors(include_url=False)
        problems = [problem for detail in details for problem in _problems(detail, source, secrets)]
        return None, [p for p in problems if not any(p.path[: len(path)] == path for path in reported)]


def _problems(details: ErrorDetails, source: Layer, secrets: KnownSecrets) -> Iterator[Problem]:
    path: KeyPath = tuple(part for part in details["loc"] if part != "[key]")
    if details["type"] == INCONSISTENT:
        # Rules between keys say nothing where a file could not be read.
        for broken, text in () if source.unread else details["ctx"]["broken"]:
            yield Problem(_origin(broken, source), broken, text)
    elif details["type"] == "extra_forbidden":
        yield Problem(_origin(path, source), path, unknown_key(path))
    elif details["type"] == "missing":
        yield Problem(_origin(path, source), path, "required key is missing")
    else:
        text = f"{expectation(details)}, got {_got(details['input'], path, source, secrets)}"
        yield Problem(_origin(path, source), path, text)


def _got(value: Any, path: KeyPath, source: Layer, secrets: KnownSecrets) -> str:
    hidden = any(path[:end] in source.hidden for end in range(1, len(path) + 1))
    if hidden or holds_secret(path) or any(is_secret_name(str(part)) for part in path):
        return f"{type(value).__name__} (value not shown)"
    shown = repr(secrets.redact(value)) if isinstance(value, dict | list) else secrets.redact_text(repr(value))
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


def _origin(path: KeyPath, source: Layer) -> str:
    """The place that the key stands at, or the nearest key above it that stands in some source."""
    for end in range(len(path), 0, -1):
        if path[:end] in source.origins:
            return source.origins[path[:end]]
    return ""


def _secret_texts(source: Layer) -> Iterator[str]:
    """The texts of secrets: of the secrets file, of variables with such a name, of keys with such a type or name."""
    yield from source.secret_texts
    for path, value in leaves(source.values):
        if not isinstance(value, str | int | float) or isinstance(value, bool) or path == REDIS_URL:
            continue
        if path in source.hidden or holds_secret(path) or any(is_secret_name(str(part)) for part in path):
            yield str(value)
    yield from _account_texts(source.values)


def _account_texts(values: Mapping[str, Any]) -> Iterator[str]:
    """The secrets within the Redis address; all of one that cannot be read."""
    redis = values.get("redis")
    url = redis.get("url") if isinstance(redis, dict) else None
    if isinstance(url, str):
        try:
            yield from RedisAddress.parse(url).secrets()
        except RedisAddressError:
            yield url


def _report(problems: list[Problem]) -> str:
    lines = list(dict.fromkeys(str(problem) for problem in problems))
    if len(lines) == 1:
        return lines[0]
    return f"{len(lines)} problems in the configuration:\n" + "\n".join(f"  {line}" for line in lines)
