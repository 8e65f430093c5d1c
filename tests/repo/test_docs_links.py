"""Whoever follows a link of the documentation arrives somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support import documentation
from tests.support.documentation import Link


def _name(link: Link) -> str:
    return f"{link.page.relative_to(ROOT)} -> {link.target.name}{'#' if link.anchor else ''}{link.anchor}"


def test_every_relative_link_of_the_documentation_leads_to_a_file() -> None:
    dead = [_name(link) for link in documentation.links() if not link.target.exists()]
    assert dead == []


def test_every_anchor_of_a_link_is_a_heading_of_its_page() -> None:
    pages = [link for link in documentation.links() if link.anchor and link.target.suffix == ".md"]
    dead = [_name(link) for link in pages if link.anchor not in documentation.anchors(link.target)]
    assert dead == []


def test_no_link_leaves_the_repository() -> None:
    outside = [_name(link) for link in documentation.links() if not link.target.is_relative_to(ROOT)]
    assert outside == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("[there](docs/there.md#why) [web](https://example.org)\n```\n[code](x)\n```\n")
    (tmp_path / "docs" / "there.md").write_text("# Why, then?\n[back](../README.md)\n[gone](gone.md)\n")
    monkeypatch.setattr(documentation, "ROOT", tmp_path)
    found = [(link.target.name, link.target.exists(), link.anchor) for link in documentation.links()]
    assert found == [("there.md", True, "why"), ("README.md", True, ""), ("gone.md", False, "")]
    assert documentation.anchors(tmp_path / "docs" / "there.md") == {"why-then"}
