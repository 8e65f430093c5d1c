"""``python -m apps.ohlcv_aggregator``."""

import sys

from apps.ohlcv_aggregator.main import main
from core.console import adapt_console

adapt_console()
sys.exit(main())
