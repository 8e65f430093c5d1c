"""The readiness of a service, and its words for people: one place for health, logs and systemd."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ServiceState:
    """The state of one service.

    Attributes:
        ready: whether it takes messages.
        was_ready: whether it ever did.
        waiting_for: what it waits for, in words; empty when for nothing.
    """

    ready: bool = False
    was_ready: bool = False
    waiting_for: str = "start"

    def serve(self) -> None:
        """Take messages from now on."""
        self.ready, self.was_ready, self.waiting_for = True, True, ""
