"""YAML as people write configuration: values with the lines they came from, and every flaw at once.

Scalars are read by the YAML 1.2 core schema (``on`` is a word, ``12:30`` is no number); duplicate keys, tags and
documents without end are flaws. Built on libyaml's events, because its tree builder crashes on deep nesting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import yaml

KeyPath = tuple[str | int, ...]

MAX_DEPTH: Final = 32
MAX_NODES: Final = 100_000  # after aliases are written out: a configuration is small, a "billion laughs" is not

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STR_TAGS: Final = ("tag:yaml.org,2002:str", "!")
_WORDS: Final[Mapping[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# A decimal with a leading zero (007) is a code, not a number: it stays text.
_INT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0o[0-7_]+)")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL: Final = re.compile(r"([-+]?)\.(inf|Inf|INF|nan|NaN|NAN)")


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something that keeps a document from being used. Line and column count from 1; 0 when unknown."""

    text: str
    line: int = 0
    column: int = 0
    path: KeyPath = ()


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """A parsed document. With ``flaws`` present, ``value`` is incomplete and must not be used."""

    value: Any
    lines: Mapping[KeyPath, int]
    flaws: tuple[Flaw, ...] = ()


def parse_yaml(text: str) -> YamlDocument:
    """One YAML document as plain values. Never raises on any text: faults stand in ``flaws``."""
    builder = _Builder()
    try:
        builder.read(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        builder.flaws.append(Flaw(f"invalid YAML: {error.problem or error.context}", *at))
    except (yaml.YAMLError, UnicodeEncodeError) as error:  # the latter: lone surrogates
        builder.flaws.append(Flaw(f"invalid YAML: {' '.join(str(error).split())}"))
    except _UnreadableError:
        pass
    return YamlDocument(builder.value, builder.lines, tuple(builder.flaws))


def scalar(text: str) -> Any:
    """A plain scalar by the YAML 1.2 core schema. Raises ValueError for a number of absurd length."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text.replace("_", ""), 0)
    if _FLOAT.fullmatch(text):
        # A leading zero in front of more digits marks a code such as 007 or 00.5, unless an exponent follows.
        digits = text.lstrip("+-")
        return text if re.match(r"0[0-9]", digits) else float(text.replace("_", ""))
    special = _SPECIAL.fullmatch(text)
    return float(special[1] + special[2]) if special else text


class _UnreadableError(Exception):
    """The rest of the document is not worth reading; the reason is among the flaws."""


def _position(event: yaml.Event) -> tuple[int, int]:
    """Line and column of an event, from 1."""
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)


@dataclass
class _Builder:
    """Turns the events of one document into values. State lives for one call of ``parse_yaml``."""

    value: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)
    _anchors: dict[str, tuple[Any, int]] = field(default_factory=dict)
    _nodes: int = 0

    def read(self, events: Iterator[yaml.Event]) -> None:
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._stop("expected one document, got a second after `---`: merge them", event)
                self.value = self._node(next(events), events, ())

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], path: KeyPath) -> Any:
        if len(path) > MAX_DEPTH:
            self._stop(f"nested deeper than {MAX_DEPTH} levels", event, path)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        self._count(1, event, path)
        nodes_above = self._nodes
        value = self._content(event, events, path)
        if anchor := getattr(event, "anchor", None):
            self._anchors[anchor] = (value, self._nodes - nodes_above + 1)
        return value

    def _content(self, event: yaml.Event, events: Iterator[yaml.Event], path: KeyPath) -> Any:
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in _STR_TAGS:
            self._flaw(f"tag {tag!r} is not supported: write a plain value", event, path)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, path)
        return self._mapping(events, path)

    def _scalar(self, event: yaml.ScalarEvent, path: KeyPath) -> Any:
        text = str(event.value)
        if event.style or event.tag is not None:  # quoted, block or tagged as text
            return text
        try:
            return scalar(text)
        except ValueError:
            self._flaw(f"expected a number that fits, got {len(text)} digits", event, path)
            return None

    def _sequence(self, events: Iterator[yaml.Event], path: KeyPath) -> list[Any]:
        items: list[Any] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            place = (*path, len(items))
            self.lines[place] = _position(event)[0]
            items.append(self._node(event, events, place))
        return items

    def _mapping(self, events: Iterator[yaml.Event], path: KeyPath) -> dict[str, Any]:
        items: dict[str, Any] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event, path)
            place = (*path, key)
            if key in items:
                first = self.lines[place]
                self._flaw(f"key {key!r} stands here a second time, first in line {first}: keep one", event, place)
            else:
                self.lines[place] = _position(event)[0]
            items[key] = self._node(next(events), events, place)
        return items

    def _key(self, event: yaml.Event, path: KeyPath) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self._stop("expected a plain word as key, got a list, a mapping or an alias", event, path)
        if event.value == "<<" and not event.style:
            self._flaw("merge keys (<<) are not supported: write the keys out", event, path)
        return str(event.value)

    def _alias(self, event: yaml.AliasEvent, path: KeyPath) -> Any:
        name = str(event.anchor)
        if name not in self._anchors:
            self._stop(f"alias *{name} has no finished anchor &{name} above it", event, path)
        value, nodes = self._anchors[name]
        self._count(nodes, event, path)
        return value

    def _count(self, nodes: int, event: yaml.Event, path: KeyPath) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._stop(f"more than {MAX_NODES} values", event, path)

    def _flaw(self, text: str, event: yaml.Event, path: KeyPath = ()) -> None:
        self.flaws.append(Flaw(text, *_position(event), path))

    def _stop(self, text: str, event: yaml.Event, path: KeyPath = ()) -> NoReturn:
        self._flaw(text, event, path)
        raise _UnreadableError
