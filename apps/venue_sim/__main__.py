"""``python -m apps.venue_sim``."""

import sys

from apps.venue_sim.main import main
from core.console import adapt_console

adapt_console()
sys.exit(main())
