"""The settings of a service: ports and times, without the weight of what uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ServiceSettings:
    """The settings of one daemon, whatever it decides. ``port`` 0 takes a spare one, None serves no health;
    ``followers`` names the daemons that a lock-step feed waits for."""

    bind_host: str = "127.0.0.1"
    port: int | None = 0
    heartbeat_s: float = 5.0
    drain_s: float = 10.0
    lockstep: bool = False
    followers: Sequence[str] = ()
