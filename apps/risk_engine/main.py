"""The risk engine daemon: ``risk.daemon`` behind a command line."""

from __future__ import annotations

from core.service.launch import launch
from risk.daemon import SPEC, build

__all__ = ["SPEC", "build", "main"]


def main() -> int:
    """Run the daemon."""
    return launch(SPEC)
