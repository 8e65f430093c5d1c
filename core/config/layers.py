"""Where configuration comes from: files, environment, overrides; each a layer that remembers every key's origin.

Layers lie on top of each other; mappings are merged key by key, everything else is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from core.config.keys import dotted, flat_name, is_text, key_for
from core.config.yaml import MAX_DEPTH, KeyPath, parse_yaml
from core.logging.redaction import is_secret_name

ENV_PREFIX: Final = "NJORD_"
_NESTING: Final = "__"
_REFERENCE: Final = re.compile(r"\$(\$?)\{([^{}]*)\}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where it stands, which key, what was expected and what came."""

    where: str
    path: KeyPath
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, dotted(self.path), self.text) if part)


@dataclass
class Layer:
    """The keys of one source. ``origins`` says where each stands; ``hidden`` marks values never to be shown."""

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, str] = field(default_factory=dict)
    hidden: set[KeyPath] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    unread: bool = False  # its keys are missing because it could not be read

    def fail(self, text: str, path: KeyPath = (), where: str | None = None) -> None:
        """Note a problem of this layer."""
        self.problems.append(Problem(self.origins.get(path, self.name) if where is None else where, path, text))


def merged(layers: list[Layer]) -> Layer:
    """All layers as one, the later ones on top."""
    whole = Layer("configuration")
    for layer in layers:
        _merge(whole.values, layer.values)
        _forget_replaced(whole, layer)
        whole.origins.update(layer.origins)
        whole.hidden |= layer.hidden
        whole.problems += layer.problems
        whole.unread |= layer.unread
    return whole


def _forget_replaced(whole: Layer, layer: Layer) -> None:
    """A list is replaced as a whole: where its old items stood means nothing any more."""
    for path, value in leaves(layer.values):
        if not isinstance(value, dict):
            gone = [old for old in whole.origins if old[: len(path)] == path]
            whole.hidden.difference_update(gone)
            for old in gone:
                del whole.origins[old]


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        under = below.get(key)
        if isinstance(under, dict) and isinstance(value, dict):
            _merge(under, value)
        else:
            below[key] = _copied(value)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def yaml_layer(name: str, text: str, environ: Mapping[str, str]) -> Layer:
    """A YAML file's keys, with ``${NAME}`` replaced from the environment and ``$${`` meaning ``${``."""
    layer = Layer(name)
    document = parse_yaml(text)
    layer.origins = {path: f"{name}:{line}" for path, line in document.lines.items()}
    for flaw in document.flaws:
        at = f"{name}:{flaw.line}:{flaw.column}" if flaw.line else name
        layer.fail(flaw.text, flaw.path, at)
    if layer.problems:
        layer.unread = True
        return layer
    if document.value is not None and not isinstance(document.value, dict):
        layer.fail(f"expected sections such as `risk:`, got {type(document.value).__name__}")
    elif document.value:
        # A section that is only named, its keys all commented out, says nothing.
        sections = {key: value for key, value in document.value.items() if value is not None}
        layer.values = _expanded(sections, (), layer, environ)
    return layer


def _expanded(value: Any, path: KeyPath, layer: Layer, environ: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _expanded(item, (*path, key), layer, environ) for key, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item, (*path, index), layer, environ) for index, item in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value

    def replaced(match: re.Match[str]) -> str:
        escaped, name = match.groups()
        if escaped:
            return f"${{{name}}}"
        if not _VARIABLE.fullmatch(name):
            layer.fail(f"expected the name of an environment variable in ${{…}}, got {name!r}", path)
        elif name not in environ:
            layer.fail(
                f"environment variable {name} is not set: set it, or write the value in place of ${{{name}}}", path
            )
        else:
            if is_secret_name(name) or is_secret_name(str(path[-1])):
                layer.hidden.add(path)
            return environ[name]
        return match[0]

    return _REFERENCE.sub(replaced, value)


def secrets_layer(path: Path, text: str, environ: Mapping[str, str]) -> Layer:
    """The keys of an encrypted file. Raises ConfigError where it cannot be opened."""
    from core.config import secrets

    layer = Layer(str(path), secrets.decrypt(text, secrets.age_keys(environ), where=str(path)))
    layer.origins = {key: str(path) for key, _ in leaves(layer.values)}
    layer.hidden = set(layer.origins)
    return layer


def leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every key path below a value, with what stands there."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key), item
        yield from leaves(item, (*path, key))


def environment_layer(environ: Mapping[str, str], below: Mapping[str, Any]) -> Layer:
    """``NJORD_RISK__PER_ORDER_USD_CAP=100`` and the like. ``below`` are the keys of the files, for open mappings.

    A variable without a double underscore is a feature gate or a token, not a key, unless it spells a key wrongly.
    """
    layer = Layer("environment")
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX):
            continue
        where = f"environment variable {name}"
        if _NESTING not in name:
            if (meant := flat_name(name.removeprefix(ENV_PREFIX))) is not None:
                layer.fail(f"no effect with single underscores: did you mean {variable_of(meant)}?", (), where)
            continue
        path, failure = key_for(name.removeprefix(ENV_PREFIX).split(_NESTING), below)
        if failure:
            layer.fail(failure, path, where)
            continue
        _put(layer, path, _parsed(environ[name], path, layer, where), where)
    return layer


def variable_of(path: KeyPath) -> str:
    """The environment variable that overrides a key."""
    return ENV_PREFIX + _NESTING.join(str(part) for part in path).upper()


def _parsed(raw: str, path: KeyPath, layer: Layer, where: str) -> Any:
    """Text stays text for a key that holds text; anything else is read as YAML."""
    if is_text(path):
        return raw
    document = parse_yaml(raw)
    for flaw in document.flaws:
        layer.fail(flaw.text, path, where)
    return document.value


def _put(layer: Layer, path: KeyPath, value: Any, where: str) -> None:
    here = layer.values
    for part in path[:-1]:
        here = here.setdefault(str(part), {})
    here[str(path[-1])] = value
    layer.origins.update({(*path, *below): where for below, _ in [((), None), *leaves(value)]})


def override_layer(overrides: Mapping[str, Any]) -> Layer:
    """What the caller says explicitly, nested like the files."""
    layer = Layer("override")
    plain = _plain(overrides, layer, ())
    if not layer.problems:
        layer.values = plain
        layer.origins = {key: "override" for key, _ in leaves(plain)}
    return layer


def _plain(value: Any, layer: Layer, path: KeyPath) -> Any:
    """Dictionaries and lists all the way down; anything else is left to the types of the keys."""
    if len(path) > MAX_DEPTH:
        layer.fail(f"nested deeper than {MAX_DEPTH} levels", path[:4])
        return None
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                layer.fail(f"expected text as key, got {key!r}", path)
        return {str(key): _plain(item, layer, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, layer, (*path, index)) for index, item in enumerate(value)]
    return value
