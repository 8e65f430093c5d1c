"""Append-only NDJSON journals: written, rotated, compressed, and read back as one ordered stream.

Entered by its face. May import: core's primitives and contracts.
"""

from __future__ import annotations

from core.journal.reader import FOREVER, JournalReader
from core.journal.set import JournalSet
from core.journal.writer import NdjsonJournal

__all__ = ["FOREVER", "JournalReader", "JournalSet", "NdjsonJournal"]
