"""What the documentation takes from the code is what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import ConfigError
from core.topics import TABLE
from scripts.generate_docs import PARTS, Part, markdown_table, rewritten, stale, topics_table, wiring_diagram

ROOT = Path(__file__).resolve().parents[2]


def test_no_generated_part_is_stale() -> None:
    outdated = [str(path.relative_to(ROOT)) for path in stale(ROOT)]
    assert outdated == [], "run `make docs`"


def test_the_table_has_a_row_for_every_topic() -> None:
    text = topics_table()
    lines = [f"| `{row.template}` | `{row.contract.__name__}` | {', '.join(row.producers)} |" for row in TABLE]
    assert [line for line in lines if line not in text] == []


def test_the_diagram_has_an_arrow_for_every_pair_of_daemons_that_talk() -> None:
    pairs = {(producer, receiver) for row in TABLE for producer in row.producers for receiver in row.receivers}
    arrows = [line for line in wiring_diagram().splitlines() if "|" in line]
    assert {(line.split()[0], line.split()[-1]) for line in arrows} == pairs


def test_a_part_is_rewritten_between_its_markers_and_nowhere_else() -> None:
    part = Part("x.md", "names", lambda: "new")
    document = f"before\n{part.begin}\nold\n{part.end}\nafter\n"
    once = rewritten(document, part)
    assert once == f"before\n{part.begin}\n\nnew\n\n{part.end}\nafter\n"
    assert rewritten(once, part) == once


def test_a_changed_source_makes_a_file_stale(tmp_path: Path) -> None:
    part = Part("x.md", "names", lambda: "new")
    path = tmp_path / "x.md"
    path.write_text(f"{part.begin}\nold\n{part.end}\n")
    (path_found, text) = stale(tmp_path, [part]).popitem()
    assert path_found == path
    path.write_text(text)
    assert stale(tmp_path, [part]) == {}


def test_a_file_without_markers_is_refused_with_the_lines_to_add() -> None:
    part = Part("x.md", "names", lambda: "new")
    with pytest.raises(ConfigError, match=r"x\.md: expected the lines '<!-- generated: names"):
        rewritten("nothing here", part)


def test_two_parts_never_share_a_marker_in_one_file() -> None:
    assert len({(part.path, part.marker) for part in PARTS}) == len(PARTS)


def test_a_bar_inside_a_cell_does_not_split_it() -> None:
    assert markdown_table(("a",), [("x|y",)]).endswith("| x\\|y |")
