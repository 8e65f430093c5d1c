"""Rotation and compression of the bar journals, under the name that the specification gives it.

Rotation itself happens in the writer (``core.journal.writer``), compression in ``core.journal.rotation``.
"""

from __future__ import annotations

from core.journal.rotation import compress_closed, corrupt_files, rotate_idle

__all__ = ["compress_closed", "corrupt_files", "rotate_idle"]
