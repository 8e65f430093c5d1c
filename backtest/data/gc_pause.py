"""Garbage collection while a run makes many objects that stay: seldom, not never.

The collector looks at everything that lives after every few hundred new objects; over a series of bars that is a tenth
of a run, for nothing found. A strategy may still make circular garbage, so it is not switched off.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_NEW_OBJECTS: Final = 100_000  # between two looks: some tens of megabytes at most


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Collect garbage seldom within; as before afterwards."""
    threshold = gc.get_threshold()
    if threshold[0]:  # 0 is the caller's wish for none at all
        gc.set_threshold(max(threshold[0], _NEW_OBJECTS), *threshold[1:])
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
