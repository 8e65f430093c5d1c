"""``python -m backtest.lookahead``."""

from __future__ import annotations

import sys

from backtest.lookahead.command import main
from core.console import adapt_console

adapt_console()
sys.exit(main())
