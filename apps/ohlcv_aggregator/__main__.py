"""``python -m apps.ohlcv_aggregator``."""

import sys

from apps.ohlcv_aggregator.main import main

sys.exit(main())
