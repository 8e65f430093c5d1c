"""A second table of topics for tests: intents with two producers, and a daemon that only listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import pytest

from core import contracts as c
from core import topics
from core.topics import Topic

SECOND: Final = "execution_engine"  # sends intents beside the strategy runner
LISTENER: Final = "audit"  # observes intents and decisions, and consumes nothing


def _row(row: Topic) -> Topic:
    if row.contract is c.OrderIntent:
        return replace(row, producers=(*row.producers, SECOND), listeners=(LISTENER,))
    if row.contract is c.RiskDecision:
        return replace(row, consumers=(*row.consumers, SECOND), listeners=(LISTENER,))
    return row


TWO_PRODUCERS: Final = tuple(_row(row) for row in topics.TABLE)


@contextmanager
def topic_table(table: tuple[Topic, ...]) -> Iterator[None]:
    """Another table in the place of the fleet's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topics, "TABLE", table)
        patch.setattr(topics, "BY_CONTRACT", {row.contract: row for row in table})
        topics.row_of.cache_clear()
        yield
    topics.row_of.cache_clear()
