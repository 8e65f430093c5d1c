"""``python -m apps.fleet``."""

import sys

from apps.fleet.main import main
from core.console import adapt_console

adapt_console()
sys.exit(main())
