"""The bus: ``Bus(redis_url)`` between processes, ``MemoryBus()`` within one, ``BusProto`` for what both promise."""

from __future__ import annotations

from core.bus.memory import MemoryBus
from core.bus.protocol import BusProto, Inbox, Subscription
from core.bus.redis import RedisBus

Bus = RedisBus

__all__ = ["Bus", "BusProto", "Inbox", "MemoryBus", "RedisBus", "Subscription"]
