"""The kill switch by hand: ``python -m scripts.njord_kill trip|clear|status``, the same as ``njord-ctl kill``."""

from __future__ import annotations

from controller.kill_commands import kill as app
from controller.terminal import Exit

__all__ = ["Exit", "app"]

if __name__ == "__main__":
    from core.console import adapt_console

    adapt_console()
    app()
