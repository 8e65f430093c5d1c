"""Fee schedules; they live in ``core.costs``, where the portfolio finds them too."""

from __future__ import annotations

from core.costs import FeeSchedule

__all__ = ["FeeSchedule"]
