"""What a daemon counts, in Prometheus' form: one registry per daemon, nothing global."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from core.bus import RedisBus
from core.service.host import ComponentHost


class ServiceMetrics:
    """The metrics every daemon has. ``refresh`` copies the host's counters into them."""

    def __init__(self, host: ComponentHost, bus: RedisBus) -> None:
        self.registry = CollectorRegistry()
        self._host = host
        self._bus = bus
        labels = {"daemon": host.name}

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"njord_{name}", text, labels, registry=self.registry).labels(**labels)

        self._handled = gauge("events_handled", "Messages processed since the start")
        self._emitted = gauge("events_emitted", "Messages answered since the start")
        self._duplicates = gauge("duplicates", "Redelivered messages that were recognised and skipped")
        self._errors = Gauge("njord_errors", "Messages set aside", ["daemon", "error"], registry=self.registry)
        self._lost = Gauge("njord_broadcasts_lost", "Broadcasts missed", ["daemon", "source"], registry=self.registry)
        self._shed = gauge("broadcasts_shed", "Broadcasts dropped because this daemon was too slow")
        self._reconnects = gauge("bus_reconnects", "Times the connection to Redis was lost")
        self._cut_off = gauge("bus_cut_offs", "Times Redis dropped this daemon's subscription, for it was too slow")
        self._holes = gauge("stream_holes", "Times a stream lacked what comes before its entries")
        self._restarts = Gauge(
            "njord_broadcast_restarts", "Sequences begun anew", ["daemon", "source"], registry=self.registry
        )
        self._transactions = gauge("ledger_transactions", "Transactions in the ledger")
        self._trouble = gauge("journal_trouble", "Whether something cannot be written")
        self._renewals = gauge("renewals", "Times the component was made anew out of its ledger")
        self.loop_lag = gauge("loop_lag_seconds", "How late the event loop wakes up")
        self.dropped = Counter(
            "njord_broadcasts_unsent", "Broadcasts that Redis did not take", list(labels), registry=self.registry
        ).labels(**labels)

    def refresh(self) -> None:
        """Bring the metrics up to date."""
        counters = self._host.counters
        self._handled.set(counters.handled)
        self._emitted.set(counters.emitted)
        self._duplicates.set(counters.duplicates)
        self._shed.set(self._bus.shed)
        self._reconnects.set(self._bus.reconnects)
        self._transactions.set(self._host.ledger.seq if self._host.ledger else 0)
        self._cut_off.set(self._bus.cut_off)
        self._holes.set(self._bus.holes)
        for source, count in counters.restarts.items():
            self._restarts.labels(self._host.name, source).set(count)
        self._trouble.set(self._host.trouble is not None)
        self._renewals.set(counters.renewals)
        for name, count in counters.errors.items():
            self._errors.labels(self._host.name, name).set(count)
        for source, count in counters.lost.items():
            self._lost.labels(self._host.name, source).set(count)
