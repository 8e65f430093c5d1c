"""The shape of the configuration as data: its keys, the types of their values, and the nearest key to a wrong one."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from core.config.model import Config
from core.config.schema import Confidential
from core.config.yaml import KeyPath

_NAMES: Final[Mapping[Any, str]] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    Decimal: "decimal",
    str: "text",
    SecretStr: "secret",
    Path: "path",
    Any: "anything",
}
_SHOWN_KEYS: Final = 12


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """One row of the catalogue. ``default`` is ``required`` where there is none; ``env`` empty where none applies."""

    key: str
    type: str
    default: str
    meaning: str
    env: str


def catalogue() -> list[ConfigKey]:
    """Every key of the configuration in declared order, for the documentation."""
    return list(_rows(Config, ()))


def _rows(section: type[BaseModel], path: KeyPath) -> Iterator[ConfigKey]:
    for name, field in _fields(section).items():
        key = (*path, name)
        inner, steps = _inner(field.annotation)
        if _is_section(inner):
            yield from _rows(inner, (*key, *steps))
        else:
            addressable = not any(str(part).startswith("<") for part in path)
            env = "" if not addressable else "NJORD_" + "__".join(map(str, key)).upper()
            yield ConfigKey(dotted(key), type_name(field.annotation), _default(field), field.description or "", env)


def _inner(annotation: Any) -> tuple[Any, KeyPath]:
    """The type of a section's members, also in a mapping or list of sections, and how a member is addressed."""
    bare = _bare(annotation)
    if _is_mapping(bare):
        member, placeholder = _bare(get_args(bare)[1]), "<symbol>"
    elif get_origin(bare) is tuple:
        member, placeholder = _bare(get_args(bare)[0]), "<n>"
    else:
        return bare, ()
    return (member, (placeholder,)) if _is_section(member) else (bare, ())


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _is_mapping(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _bare(annotation: Any) -> Any:
    """The annotation without constraints and without ``| None``."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (types.UnionType, Union):
        return _bare(next(part for part in get_args(annotation) if part is not type(None)))
    return annotation


def _fields(section: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _step(annotation: Any, part: str | int) -> Any:
    bare = _bare(annotation)
    if _is_section(bare):
        field = _fields(bare).get(str(part))
        return None if field is None else field.annotation
    if _is_mapping(bare):
        return get_args(bare)[1]
    return get_args(bare)[0] if get_origin(bare) is tuple and isinstance(part, int) else None


def annotation_at(path: KeyPath) -> Any:
    """The type of a key path's value, without constraints; None where no value may stand."""
    annotation: Any = Config
    for part in path:
        annotation = _step(annotation, part)
        if annotation is None:
            return None
    return _bare(annotation)


def holds_secret(path: KeyPath) -> bool:
    """True if a secret stands at the key, above it or below it, by the types of the keys."""
    section: Any = Config
    for part in path:
        if not _is_section(section):
            return False
        field = _fields(section).get(str(part))
        if field is None:
            return False
        if _is_secret(field):
            return True
        section = _bare(field.annotation)
    return bool(path) and _has_secret(section)


def _is_secret(field: FieldInfo) -> bool:
    return _bare(field.annotation) is SecretStr or any(isinstance(mark, Confidential) for mark in field.metadata)


def _has_secret(section: Any) -> bool:
    fields = _fields(section).values() if _is_section(section) else ()
    return any(_is_secret(field) or _has_secret(_bare(field.annotation)) for field in fields)


def is_path(path: KeyPath) -> bool:
    """True if the key holds a path of the file system."""
    return annotation_at(path) is Path


def is_text(path: KeyPath) -> bool:
    """True if the key holds text, so that ``007`` stays as typed."""
    annotation = annotation_at(path)
    return annotation in (str, SecretStr, Path) or get_origin(annotation) is Literal


def keys_at(path: KeyPath) -> tuple[str, ...]:
    """The keys a section knows; empty where keys are free."""
    annotation = annotation_at(path) if path else Config
    return tuple(_fields(annotation)) if _is_section(annotation) else ()


def unknown_key(path: KeyPath) -> str:
    """The text about a key that its section does not know, with the nearest one it does."""
    expected = keys_at(path[:-1])
    if not expected:
        return "unknown key: nothing can be addressed below this one, it is given as a whole"
    near = difflib.get_close_matches(str(path[-1]).lower(), expected, n=1)
    hint = f"did you mean {dotted((*path[:-1], near[0]))}? " if near else ""
    elsewhere = "" if near else _elsewhere(str(path[-1]))
    more = f" and {len(expected) - _SHOWN_KEYS} more" if len(expected) > _SHOWN_KEYS else ""
    return f"unknown key; {hint}{elsewhere}expected one of {', '.join(expected[:_SHOWN_KEYS])}{more}"


def _elsewhere(name: str) -> str:
    """The section in which a key of this very name stands, when it was put under the wrong one."""
    for section in keys_at(()):
        if name in keys_at((section,)):
            return f"did you mean {section}.{name}? "
    return ""


def key_for(parts: list[str], below: Mapping[str, Any]) -> tuple[KeyPath, str]:
    """The key path that the parts of an environment variable's name mean, and the fault in it, if any.

    Names in open mappings are compared by letters and digits only, so that ``BTC_USDT`` finds ``BTC/USDT``.
    """
    path: KeyPath = ()
    values: Any = below
    for part in parts:
        name = part.lower()
        if path and _is_mapping(annotation_at(path)):
            existing = list(values) if isinstance(values, Mapping) else []
            match = next((key for key in existing if _letters(key) == _letters(name)), None)
            if match is None and _is_section(_step(annotation_at(path), name)):
                names = ", ".join(existing) or "none: the files have none"
                return (*path, name), f"unknown key; expected one of {names}"
            name = match or name
        elif name not in keys_at(path):
            return (*path, name), unknown_key((*path, name))
        path = (*path, name)
        values = values.get(name) if isinstance(values, Mapping) else None
    return path, ""


def flat_name(name: str) -> KeyPath | None:
    """The key meant by a name whose parts are joined with single underscores, or None."""
    letters = _letters(name)
    for section in keys_at(()):
        for key in keys_at((section,)):
            if _letters(section + key) == letters:
                return (section, key)
    return None


def _letters(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def dotted(path: KeyPath) -> str:
    """A key path as people write it: ``strategies[0].params.qty``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text.replace(".<n>", "[<n>]")


def type_name(annotation: Any) -> str:
    """A type in the words of the documentation."""
    bare = _bare(annotation)
    if get_origin(bare) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(bare))
    if get_origin(bare) is tuple:
        return f"list of {type_name(get_args(bare)[0])}"
    if _is_mapping(bare):
        return f"mapping of {type_name(get_args(bare)[1])}"
    return _NAMES.get(bare, getattr(bare, "__name__", str(bare)))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ((), {}):
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
