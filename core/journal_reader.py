"""The reader of journals, under the specification's name; ``core.journal`` is its room."""

from __future__ import annotations

from core.journal import FOREVER, JournalReader

__all__ = ["FOREVER", "JournalReader"]
