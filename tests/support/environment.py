"""The environment of a command that a test types: the person's, without what brought the test itself to run.

A suite started by ``make test ARGS=…`` has ARGS and MAKEFLAGS in its environment, and a ``make`` below it would obey
them; settings of ours (``NJORD_…``) would make an installation of the test's something else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

PREFIXES: Final = ("NJORD_", "MAKE", "MFLAGS", "PYTEST_", "PYTHONPATH", "COLUMNS")
MAKE_VARIABLES: Final = frozenset({"ARGS", "WORKERS", "FEED", "VENUE", "SYMBOL", "PYTHON"})  # of our Makefile


def clean_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that a person has who opens a terminal."""
    return {
        name: value for name, value in environ.items() if not name.startswith(PREFIXES) and name not in MAKE_VARIABLES
    }
