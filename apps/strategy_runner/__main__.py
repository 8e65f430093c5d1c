"""``python -m apps.strategy_runner``."""

import sys

from apps.strategy_runner.main import main
from core.console import adapt_console

adapt_console()
sys.exit(main())
