"""Slippage models; they live in ``core.costs``, where the portfolio finds them too."""

from __future__ import annotations

from core.costs import MODELS, Slippage, SlippageModel, slipped

__all__ = ["MODELS", "Slippage", "SlippageModel", "slipped"]
