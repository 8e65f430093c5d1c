"""The configuration: its schema, the layers it is put together from, and the record of what a session ran under.

Entered by its face; ``schema`` and ``model`` for the sections. May import: core's primitives and contracts.
"""

from __future__ import annotations

from core.config.load import ConfigKey, catalogue, feature_enabled, live_enabled, load_config
from core.config.model import Config

__all__ = ["Config", "ConfigKey", "catalogue", "feature_enabled", "live_enabled", "load_config"]
