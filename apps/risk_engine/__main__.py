"""``python -m apps.risk_engine``."""

import sys

from apps.risk_engine.main import main
from core.console import adapt_console

adapt_console()
sys.exit(main())
