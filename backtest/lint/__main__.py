"""``python -m backtest.lint``."""

from __future__ import annotations

import sys

from backtest.lint.command import main

sys.exit(main())
