"""``python -m backtest.lookahead``."""

from __future__ import annotations

import sys

from backtest.lookahead.command import main

sys.exit(main())
