"""``python -m apps.fleet``."""

import sys

from apps.fleet.main import main

sys.exit(main())
