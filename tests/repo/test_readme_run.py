"""The README's block of ``make run`` is what the run prints, to the last hash."""

from __future__ import annotations

import re

import pytest

from scripts.readme_run import README, block_of, comparable, main


@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_readme_shows_what_the_run_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_only_seconds_and_speed_may_differ() -> None:
    block = block_of(README.read_text(encoding="utf-8"))
    slower = re.sub(r"in [0-9.,]+ s \([0-9,]+/s\)", "in 1,099.0 s (7/s)", block)
    other_result = block.replace("fills; ", "fills, more or less; ")
    assert slower != block
    assert comparable(slower) == comparable(block)
    assert comparable(other_result) != comparable(block)
