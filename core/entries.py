"""Entry ids: the names of the entries in a producer's stream, and consumer offsets, which are entry ids too.

An entry is one ledger message; its id is the number of the transaction and the place in it, written ``tx-index``.
"""

from __future__ import annotations

from typing import Final

EntryId = tuple[int, int]  # transaction and index in it
ConsumerOffset = EntryId  # the last entry of a stream that a consumer has processed
NO_ENTRY: Final[EntryId] = (0, 0)  # ahead of the first entry; a broadcast has it


def entry_id_of(text: str) -> EntryId:
    """An entry id out of ``tx-index``. Raises ValueError."""
    transaction, _, index = text.partition("-")
    return int(transaction), int(index)


def entry_text(entry: EntryId) -> str:
    """An entry id as ``tx-index``."""
    return f"{entry[0]}-{entry[1]}"
