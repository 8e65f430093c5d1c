"""``python -m backtest.report``."""

from __future__ import annotations

import sys

from backtest.report.generate import main
from core.console import adapt_console

adapt_console()
sys.exit(main())
