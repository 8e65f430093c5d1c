"""``python -m apps.strategy_runner``."""

import sys

from apps.strategy_runner.main import main

sys.exit(main())
