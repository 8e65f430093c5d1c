"""Space on the disk that a ledger keeps for the day it is full, so that positions can still be reduced."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

from core.disk import Disk

_log: Final = logging.getLogger("njord.journal")


class Reserve:
    """A file of a fixed size that holds nothing.

    Attributes:
        strained: the space was given back, or could not be taken.
    """

    def __init__(self, path: Path, size: int, disk: Disk) -> None:
        self.path = path
        self.strained = False
        self._size = size
        self._disk = disk

    def take(self) -> bool:
        """Have the space, if the disk has it; whether it is there."""
        if self._size and not self._is_there():
            try:
                self._allocate()
            except OSError as error:
                if not self.strained:
                    _log.error("no %d bytes of reserve in %s: %s", self._size, self.path, error)
                self.strained = True
                self._remove()  # whatever part of it was taken
                return False
        self.strained = False
        return True

    def free(self) -> bool:
        """Give the space back; whether there was any."""
        if not self._size or not self.path.exists():
            return False
        self.strained = True
        _log.error("the disk is full: %d bytes of reserve in %s are given up", self._size, self.path)
        return self._remove()

    def _is_there(self) -> bool:
        return self.path.exists() and self.path.stat().st_size >= self._size

    def _allocate(self) -> None:
        fd = self._disk.open(self.path, os.O_WRONLY | os.O_CREAT)
        try:
            self._disk.allocate(fd, self._size)
        finally:
            self._disk.close(fd)

    def _remove(self) -> bool:
        try:
            self._disk.remove(self.path)
        except OSError as error:
            _log.error("the reserve in %s stays: %s", self.path, error)
            return False
        return True
