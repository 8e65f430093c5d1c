"""The bar aggregation daemon: ``core.market.bars_daemon`` behind a command line."""

from __future__ import annotations

from core.market.bars_daemon import SPEC, build
from core.service.launch import launch

__all__ = ["SPEC", "build", "main"]


def main() -> int:
    """Run the daemon."""
    return launch(SPEC)
