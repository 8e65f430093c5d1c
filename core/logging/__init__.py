"""Structured logging: one JSON line an event, no secret in any of them.

Entered by its face; ``redaction`` masks secrets for everybody. May import: ``core.clock``, ``core.disk``.
"""

from __future__ import annotations

from core.logging.setup import get_logger, setup_json_logging
from core.logging.sink import LogSink

__all__ = ["LogSink", "get_logger", "setup_json_logging"]
