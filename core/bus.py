"""The bus: ``Bus(redis_url)`` between processes, ``MemoryBus()`` within one, ``BusProto`` for what both promise."""

from __future__ import annotations

from core.bus_protocol import BusProto, Inbox, Subscription
from core.memory_bus import MemoryBus
from core.redis_bus import RedisBus

Bus = RedisBus

__all__ = ["Bus", "BusProto", "Inbox", "MemoryBus", "RedisBus", "Subscription"]
