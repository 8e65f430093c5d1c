"""An error that nobody caught is printed with its secrets masked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import patience

ROOT = Path(__file__).resolve().parents[3]
SECRET = "Zq'9 LongSecret"
PROGRAM = f"""
import threading
from core.logging.uncaught import mask_uncaught

class Refuses:
    def __del__(self):
        raise RuntimeError({SECRET!r})

def fail():
    try:
        raise ValueError({SECRET!r})
    except ValueError as error:
        raise KeyError(repr({SECRET!r})) from error

mask_uncaught([{SECRET!r}])
"""


@pytest.mark.parametrize(
    "statement",
    ["fail()", "thread = threading.Thread(target=fail); thread.start(); thread.join()", "del Refuses().x"],
    ids=["main", "thread", "finalizer"],
)
def test_an_uncaught_error_is_printed_without_its_secrets(tmp_path: Path, statement: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM + statement.replace("del Refuses().x", "refuses = Refuses(); del refuses"))

    end = subprocess.run(
        [sys.executable, str(program)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=patience(60),
    )

    messages = [line for line in end.stderr.splitlines() if "Error: " in line]
    assert messages
    assert all("***" in line and "LongSecret" not in line for line in messages)
