"""The layers of the configuration: files, environment, overrides, each with the origin of every key.

Layers lie on top of each other. Mappings are merged key by key, everything else is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from core.config.keys import dotted, flat_name, is_text, key_for
from core.config.references import References
from core.config.yaml import MAX_DEPTH, KeyPath, parse_yaml

ENV_PREFIX: Final = "NJORD_"
_NESTING: Final = "__"


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault of the configuration: the place it stands at, its key, what was expected and what came."""

    place: str
    path: KeyPath
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place, dotted(self.path), self.text) if part)


@dataclass
class Layer:
    """The keys of one source.

    Attributes:
        origins: the place that each key stands at, such as ``base.yaml:7``.
        hidden: the keys whose values are never shown.
        secret_texts: the values of variables that were put into hidden ones.
        unread: whether its keys are missing because it could not be read.
    """

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, str] = field(default_factory=dict)
    hidden: set[KeyPath] = field(default_factory=set)
    secret_texts: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    unread: bool = False

    def fail(self, text: str, path: KeyPath = (), place: str | None = None) -> None:
        """Note a problem of this layer."""
        self.problems.append(Problem(self.origins.get(path, self.name) if place is None else place, path, text))

    def take_secrets(self, references: References) -> None:
        """Hide what references to secret variables were replaced by."""
        self.hidden |= references.secret_keys
        self.secret_texts |= references.secret_texts


def merged(layers: list[Layer]) -> Layer:
    """All layers as one, the later ones on top."""
    result = Layer("configuration")
    for layer in layers:
        _merge(result.values, layer.values)
        _forget_replaced(result, layer)
        result.origins.update(layer.origins)
        result.hidden |= layer.hidden
        result.secret_texts |= layer.secret_texts
        result.problems += layer.problems
        result.unread |= layer.unread
    return result


def _forget_replaced(result: Layer, layer: Layer) -> None:
    """Drop the origins of replaced values: a list is replaced with all its members."""
    for path, value in leaves(layer.values):
        if not isinstance(value, dict):
            replaced = [old for old in result.origins if old[: len(path)] == path]
            result.hidden.difference_update(replaced)
            for old in replaced:
                del result.origins[old]


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        under = below.get(key)
        if isinstance(under, dict) and isinstance(value, dict):
            _merge(under, value)
        else:
            below[key] = _copied(value)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(member) for key, member in value.items()}
    return [_copied(member) for member in value] if isinstance(value, list) else value


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
        references = References(environ, layer.fail)
        layer.values = references.expanded(sections)
        layer.take_secrets(references)
    return layer


def secrets_layer(path: Path, text: str, environ: Mapping[str, str]) -> Layer:
    """The keys of an encrypted file. Raises ConfigError where it cannot be opened."""
    from core.config import secrets

    layer = Layer(str(path), secrets.decrypt(text, secrets.age_keys(environ), place=str(path)))
    layer.origins = {key: str(path) for key, _ in leaves(layer.values)}
    layer.hidden = set(layer.origins)
    return layer


def leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every key path below a value, with its value."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield (*path, key), member
        yield from leaves(member, (*path, key))


def environment_layer(environ: Mapping[str, str], below: Mapping[str, Any]) -> Layer:
    """``NJORD_RISK__PER_ORDER_USD_CAP=100`` and the like. ``below`` are the keys of the files, for open mappings.

    A variable without a double underscore is a feature gate or a token, not a key, unless it spells a key wrongly.
    """
    layer = Layer("environment")
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX):
            continue
        place = f"environment variable {name}"
        if _NESTING not in name:
            if (meant := flat_name(name.removeprefix(ENV_PREFIX))) is not None:
                layer.fail(f"no effect with single underscores: did you mean {variable_of(meant)}?", (), place)
            continue
        path, failure = key_for(name.removeprefix(ENV_PREFIX).split(_NESTING), below)
        if failure:
            layer.fail(failure, path, place)
            continue
        _put(layer, path, _parsed(environ[name], path, layer, place), place)
    _expand_paths(layer, environ)
    return layer


def _expand_paths(layer: Layer, environ: Mapping[str, str]) -> None:
    references = References(environ, layer.fail)
    layer.values = references.expanded_paths(layer.values)
    layer.take_secrets(references)


def variable_of(path: KeyPath) -> str:
    """The environment variable that overrides a key."""
    return ENV_PREFIX + _NESTING.join(str(part) for part in path).upper()


def _parsed(raw: str, path: KeyPath, layer: Layer, place: str) -> Any:
    """Text stays text for a key that holds text; anything else is read as YAML."""
    if is_text(path):
        return raw
    document = parse_yaml(raw)
    for flaw in document.flaws:
        layer.fail(flaw.text, path, place)
    return document.value


def _put(layer: Layer, path: KeyPath, value: Any, place: str) -> None:
    section = layer.values
    for part in path[:-1]:
        section = section.setdefault(str(part), {})
    section[str(path[-1])] = value
    layer.origins.update({(*path, *below): place for below, _ in [((), None), *leaves(value)]})


def override_layer(overrides: Mapping[str, Any], environ: Mapping[str, str]) -> Layer:
    """The explicit values of the caller, nested like the files."""
    layer = Layer("override")
    values = _as_containers(overrides, layer, ())
    if not layer.problems:
        layer.values = values
        layer.origins = {key: "override" for key, _ in leaves(values)}
        _expand_paths(layer, environ)
    return layer


def _as_containers(value: Any, layer: Layer, path: KeyPath) -> Any:
    """The value as dictionaries and lists at every level; anything else is left to the types of the keys."""
    if len(path) > MAX_DEPTH:
        layer.fail(f"nested deeper than {MAX_DEPTH} levels", path[:4])
        return None
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                layer.fail(f"expected text as key, got {key!r}", path)
        return {str(key): _as_containers(member, layer, (*path, str(key))) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_as_containers(member, layer, (*path, index)) for index, member in enumerate(value)]
    return value
