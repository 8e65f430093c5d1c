"""``python -m apps.md_ingest``."""

import sys

from apps.md_ingest.main import main
from core.console import adapt_console

adapt_console()
sys.exit(main())
