"""``python -m benchmarks``."""

import sys

from benchmarks.cli import main
from core.console import adapt_console

adapt_console()
sys.exit(main())
