"""The quick suite: what ``make test`` leaves out of everything, and when it leaves out nothing.

A test that takes seconds is marked ``full`` and runs with ``make test-all``. Whoever names tests wants those, whatever
they take: a path, ``-k`` or ``-m`` on the command line runs marked ones too.
"""

from __future__ import annotations

from typing import Final

import pytest

OPTION: Final = "--quick"
BY_DEFAULT: Final = "not slow"  # as `addopts` in pyproject.toml says


def names_tests(config: pytest.Config) -> bool:
    """Whether the command line says by itself which tests to run."""
    by_path = config.args_source is pytest.Config.ArgsSource.ARGS
    return by_path or bool(config.option.keyword) or config.option.markexpr != BY_DEFAULT


def split(items: list[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """The tests of the quick suite, and the others."""
    quick = [item for item in items if item.get_closest_marker("full") is None]
    return quick, [item for item in items if item.get_closest_marker("full") is not None]
