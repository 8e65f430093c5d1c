"""The specs of the daemons behind the feed, in the order in which a round serves them: see ``core.daemons``."""

from __future__ import annotations

from typing import Final

from core.service.spec import specs_behind_the_feed

BEHIND_THE_FEED: Final = specs_behind_the_feed()
