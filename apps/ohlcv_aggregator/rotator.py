"""Rotation and compression of the bar journals, under the name that the specification gives it.

Rotation itself happens in the writer (``core.journal``), compression in ``core.rotation``.
"""

from __future__ import annotations

from core.rotation import compress_closed, corrupt_files, rotate_idle

__all__ = ["compress_closed", "corrupt_files", "rotate_idle"]
