"""A server that keeps its data in an append-only file, and can lose the end of it as a machine without power does.

SIGKILL alone loses nothing that the server handed to the operating system; what ``everysec`` risks is the
file's last second, so that is cut off by hand.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.redis_server import RedisServer


class KillableServer(RedisServer):
    """``sync`` is ``always`` or ``everysec``."""

    def __init__(self, sync: str = "always") -> None:
        super().__init__(appendonly=True, args=("--appendfsync", sync, "--aof-load-truncated", "yes"))

    def written(self) -> int:
        """Bytes in the file that grows."""
        return self._growing().stat().st_size

    def cut(self, size: int) -> None:
        """Cut the file back to the size it had; only while the server is down."""
        path = self._growing()
        if path.stat().st_size > size:
            os.truncate(path, size)

    def _growing(self) -> Path:
        return max(self.directory.glob("appendonlydir/*.incr.aof"), key=lambda path: path.stat().st_mtime_ns)
