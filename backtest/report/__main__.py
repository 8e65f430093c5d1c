"""``python -m backtest.report``."""

from __future__ import annotations

import sys

from backtest.report.generate import main

sys.exit(main())
