"""Every test that the page of promises names exists, so that whoever doubts a promise can run it."""

from __future__ import annotations

import re
from typing import Final

import pytest

from tests.conftest import ROOT

PAGE: Final = (ROOT / "docs" / "promises.md").read_text()
NAMED: Final = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`", PAGE)))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_the_promises_name_exists(file: str, name: str) -> None:
    text = (ROOT / file).read_text()
    assert not name or re.search(rf"def {name}\(", text), f"{file} has no {name}"


def test_every_promise_names_its_test() -> None:
    promises = PAGE.partition("## Promises")[2].partition("## Under which settings")[0]
    rows = [line for line in promises.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
    assert rows
    assert [row for row in rows if "`tests/" not in row] == []


def test_what_the_page_says_to_look_for_is_what_the_commands_say() -> None:
    said = "".join(
        path.read_text() for folder in ("controller", "core") for path in sorted((ROOT / folder).rglob("*.py"))
    )
    accident = PAGE.partition("## After an accident")[2].partition("## How it is tested")[0]
    for row in re.findall(r"(?m)^\| `([^`]+)` \|", accident):
        fragments = [part.strip() for part in re.split(r"\bN messages\b|,", row) if part.strip()]
        assert all(fragment in said for fragment in fragments), row
