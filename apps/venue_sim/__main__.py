"""``python -m apps.venue_sim``."""

import sys

from apps.venue_sim.main import main

sys.exit(main())
