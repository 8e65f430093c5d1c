"""``python -m apps.paper_trader``."""

import sys

from apps.paper_trader.main import main

sys.exit(main())
