"""The paper trader daemon: ``execution.daemon`` behind a command line."""

from __future__ import annotations

from core.service.launch import launch
from execution.daemon import SPEC, build

__all__ = ["SPEC", "build", "main"]


def main() -> int:
    """Run the daemon."""
    return launch(SPEC)
