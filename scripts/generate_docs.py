"""Rewrites the parts of the documentation that are read from the code, between their markers.

``python -m scripts.generate_docs`` rewrites, ``--check`` only tells what is stale (exit status 1). A new part is a
line in ``PARTS`` and a pair of markers in its file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

from core.config import catalogue as config_keys
from core.console import adapt_console
from core.daemons import DAEMONS
from core.errors import ConfigError
from core.topics import TABLE, Delivery, Topic
from risk.catalogue import catalogue as denials
from scripts import architecture

ROOT: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Part:
    """A generated stretch of a document; ``marker`` names it inside the file."""

    path: str
    marker: str
    text: Callable[[], str]

    @property
    def begin(self) -> str:
        """The line before the generated text."""
        return f"<!-- generated: {self.marker}; rewrite with `make docs` -->"

    @property
    def end(self) -> str:
        """The line after the generated text."""
        return f"<!-- end of {self.marker} -->"


def topics_table() -> str:
    """The topics, one row each."""
    return markdown_table(
        ("topic", "contract", "producers", "consumers", "listeners", "delivery", "journal"),
        (
            (
                f"`{row.template}`",
                f"`{row.contract.__name__}`",
                ", ".join(row.producers),
                ", ".join(row.consumers) or "—",
                ", ".join(row.listeners) or "—",
                row.delivery.value,
                f"`{row.journal}.ndjson`" if row.journal else "—",
            )
            for row in TABLE
        ),
    )


def daemons_table() -> str:
    """The daemons, one row each."""
    return markdown_table(
        ("daemon", "what it does", "health and metrics"),
        ((f"`{row.name}`", row.summary, f"127.0.0.1:{row.port}") for row in DAEMONS),
    )


def wiring_diagram() -> str:
    """The wiring of the daemons: one arrow per pair of daemons, dashed where every message on it may be lost."""
    edges: dict[tuple[str, str], list[Topic]] = {}
    for row in TABLE:
        for pair in product(row.producers, row.receivers):
            edges.setdefault(pair, []).append(row)
    daemons = dict.fromkeys(name for edge in edges for name in edge)
    lines = ["```mermaid", "flowchart LR", *(f"  {name}[{name}]" for name in daemons)]
    for (producer, consumer), rows in edges.items():
        arrow = "==>" if any(row.delivery is Delivery.LEDGER for row in rows) else "-.->"
        label = "<br/>".join(_short(row.template) for row in rows)
        lines.append(f'  {producer} {arrow}|"{label}"| {consumer}')
    return "\n".join([*lines, "```"])


def _short(template: str) -> str:
    """A topic without its placeholders: braces mean something else in a diagram."""
    return template.split(".{")[0]


def config_table() -> str:
    """Every configuration key, one row each."""
    return markdown_table(
        ("key", "type", "default", "meaning"),
        ((f"`{row.key}`", row.type, f"`{row.default}`" if row.default else "—", row.meaning) for row in config_keys()),
    )


def denials_table() -> str:
    """Every denial code, one row each."""
    return markdown_table(
        ("code", "meaning", "numbers", "exits"),
        (
            (f"`{row.code}`", row.meaning, ", ".join(f"`{name}`" for name in row.numbers) or "—", row.exits)
            for row in denials()
        ),
    )


def rooms_table() -> str:
    """Every package and room, one row each."""
    return markdown_table(("room", "what lives there", "imports"), architecture.rooms_table())


PARTS: Final = (
    Part("docs/architecture.md", "picture", architecture.picture),
    Part("docs/architecture.md", "rooms", rooms_table),
    Part("README.md", "daemons", daemons_table),
    Part("docs/configuration.md", "configuration", config_table),
    Part("docs/denials.md", "denials", denials_table),
    Part("docs/topics.md", "topics", topics_table),
    Part("docs/topics.md", "wiring", wiring_diagram),
)


def markdown_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def rewritten(document: str, part: Part) -> str:
    """The document with the part's text between its markers. Raises ConfigError without the markers."""
    head, begin, rest = document.partition(part.begin)
    _, end, tail = rest.partition(part.end)
    if not begin or not end:
        raise ConfigError(f"{part.path}: expected the lines {part.begin!r} and, below it, {part.end!r}; add them")
    return f"{head}{begin}\n\n{part.text()}\n\n{end}{tail}"


def stale(root: Path, parts: Iterable[Part] = PARTS) -> dict[Path, str]:
    """The files whose generated parts differ from the code, with what they should contain."""
    texts: dict[Path, str] = {}
    for part in parts:
        path = root / part.path
        texts[path] = rewritten(texts.get(path) or path.read_text(encoding="utf-8"), part)
    return {path: text for path, text in texts.items() if text != path.read_text(encoding="utf-8")}


def main(arguments: list[str] | None = None) -> int:
    """Rewrite or check; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 when something is stale")
    check: bool = parser.parse_args(arguments).check
    outdated = stale(ROOT)
    for path, text in outdated.items():
        print(f"{path.relative_to(ROOT)}: {'stale; run `make docs`' if check else 'rewritten'}")
        if not check:
            path.write_text(text, encoding="utf-8")
    return 1 if check and outdated else 0


if __name__ == "__main__":
    adapt_console()
    sys.exit(main())
