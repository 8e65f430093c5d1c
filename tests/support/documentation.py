"""The documentation as a test reads it: its pages, the command lines that it tells people to type, its links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.conftest import ROOT

_FENCE: Final = "```"
_PROMPT: Final = "$ "
_COMMENT: Final = re.compile(r"\s+#.*$")
_LINK: Final = re.compile(r"\]\(([^()\s]+)\)")
_BESIDE_WORDS: Final = re.compile(r"[^\w\- ]")


class Link(NamedTuple):
    """A relative link; ``anchor`` is empty where the page as a whole is meant."""

    page: Path
    target: Path
    anchor: str


def pages() -> list[Path]:
    """README.md and everything below docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands() -> dict[str, str]:
    """Every command line of a ``console`` block, without its comment, and the page that has it."""
    page_of: dict[str, str] = {}
    for page in pages():
        for language, line in _fenced(page):
            if language == "console" and line.startswith(_PROMPT):
                page_of.setdefault(_COMMENT.sub("", line.removeprefix(_PROMPT)).strip(), str(page.relative_to(ROOT)))
    return page_of


def links() -> Iterator[Link]:
    """Every link to something in the repository."""
    for page in pages():
        fenced = {line for _, line in _fenced(page)}
        for line in page.read_text().splitlines():
            for target in () if line in fenced else _LINK.findall(line):
                path, _, anchor = target.partition("#")
                if "://" not in path and not path.startswith("mailto:"):
                    yield Link(page, (page.parent / path).resolve() if path else page, anchor)


def anchors(page: Path) -> set[str]:
    """What a link may name on a page: its headings as GitHub writes them."""
    headings = [line.lstrip("#").strip() for line in page.read_text().splitlines() if line.startswith("#")]
    return {_BESIDE_WORDS.sub("", heading.lower()).replace(" ", "-") for heading in headings}


def _fenced(page: Path) -> Iterator[tuple[str, str]]:
    """The lines of code blocks, with the block's language."""
    language: str | None = None
    for line in page.read_text().splitlines():
        if line.startswith(_FENCE):
            language = line.removeprefix(_FENCE).strip() if language is None else None
        elif language is not None:
            yield language, line
