"""``python -m backtest.lint``."""

from __future__ import annotations

import sys

from backtest.lint.command import main
from core.console import adapt_console

adapt_console()
sys.exit(main())
