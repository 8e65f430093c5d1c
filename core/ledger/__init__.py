"""Hash-chained ledgers, their snapshots, and the journals that are projected from them.

Entered by its face; ``lines`` is the format of a transaction. May import: core's primitives, contracts and journal.
"""

from __future__ import annotations

from core.ledger.ledger import LOCAL, LOCAL_CONTRACTS, Cause, Ledger, Place, Transaction, read, verify
from core.ledger.snapshot import SNAPSHOT_EVERY, Snapshot, SnapshotFile

__all__ = [
    "LOCAL",
    "LOCAL_CONTRACTS",
    "SNAPSHOT_EVERY",
    "Cause",
    "Ledger",
    "Place",
    "Snapshot",
    "SnapshotFile",
    "Transaction",
    "read",
    "verify",
]
