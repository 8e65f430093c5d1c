"""``python -m apps.paper_trader``."""

import sys

from apps.paper_trader.main import main
from core.console import adapt_console

adapt_console()
sys.exit(main())
