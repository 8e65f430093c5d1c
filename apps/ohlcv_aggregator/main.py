"""The bar aggregation daemon: ``core.bars_daemon`` behind a command line."""

from __future__ import annotations

from core.bars_daemon import SPEC, build
from core.launch import launch

__all__ = ["SPEC", "build", "main"]


def main() -> int:
    """Run the daemon."""
    return launch(SPEC)
