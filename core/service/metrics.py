"""The metrics of a daemon in Prometheus' form: one registry per daemon, nothing global.

Counts are read from the host when they are asked for, so that nothing is kept twice; each is a counter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.bus import RedisBus
from core.service.host import ComponentHost
from core.service.kill_watch import KillSwitchWatch
from core.service.reload import Reloader

Counts = Callable[[], Mapping[str, int]]


class Tally:
    """A count that only grows."""

    def __init__(self) -> None:
        self.count = 0

    def inc(self, amount: int) -> None:
        """Add to the count."""
        self.count += amount


class ServiceMetrics:
    """The metrics that every daemon has.

    Args:
        host: its counters.
        bus: its connection's counters.
        reloader: its reloads.
        kill_switch: whose state is shown; None for a daemon that does not watch it.
        feed: the counters of its feed, by names in snake case; each becomes ``njord_feed_{name}_total``.
    """

    def __init__(
        self, host: ComponentHost, bus: RedisBus, reloader: Reloader, kill_switch: KillSwitchWatch | None, feed: Counts
    ) -> None:
        self.registry = CollectorRegistry()
        labels = {"daemon": host.name}
        self.loop_lag = Gauge(
            "njord_loop_lag_seconds", "How late the event loop wakes up", list(labels), registry=self.registry
        ).labels(**labels)
        self.dropped = Tally()
        self.registry.register(_ServiceCollector(host, bus, reloader, kill_switch, feed, self.dropped))
        ProcessCollector(registry=self.registry)


class _ServiceCollector(Collector):
    """Reads the counters of a daemon whenever the metrics are asked for."""

    def __init__(
        self,
        host: ComponentHost,
        bus: RedisBus,
        reloader: Reloader,
        kill_switch: KillSwitchWatch | None,
        feed: Counts,
        dropped: Tally,
    ) -> None:
        self._dropped = dropped
        self._host = host
        self._bus = bus
        self._reloader = reloader
        self._kill_switch = kill_switch
        self._feed = feed

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        counters, bus = self._host.counters, self._bus
        yield self._count("events_handled", "Messages processed since the start", counters.handled)
        yield self._count("events_emitted", "Messages answered since the start", counters.emitted)
        yield self._count("duplicates", "Redelivered messages that were recognised and skipped", counters.duplicates)
        yield self._counts("errors", "Messages set aside", "error", counters.errors)
        yield self._counts("broadcasts_lost", "Broadcasts missed", "source", counters.lost)
        yield self._counts("stream_missed", "Transactions trimmed before a listener came", "source", counters.missed)
        yield self._counts("broadcast_restarts", "Sequences begun anew", "source", counters.restarts)
        yield self._count("broadcasts_shed", "Broadcasts dropped because this daemon was too slow", bus.shed)
        yield self._count("broadcasts_unsent", "Broadcasts that Redis did not take", self._dropped.count)
        yield self._count("bus_reconnects", "Times the connection to Redis was lost", bus.reconnects)
        yield self._count("bus_cut_offs", "Times Redis dropped this daemon's subscription as too slow", bus.cut_off)
        yield self._count("stream_holes", "Times a stream lacked what comes before its entries", bus.holes)
        yield self._count("recoveries", "Times a running component was recovered from records", counters.recoveries)
        yield self._count("reloads", "Configurations put in force while running", self._reloader.reloaded)
        yield self._count("reloads_refused", "Reloads that left the old configuration", self._reloader.refused)
        yield self._count("reloads_malformed", "Requests on controller.reload without a name", self._reloader.malformed)
        if self._host.ledger is not None:
            yield self._count("ledger_transactions", "Transactions in the ledger", self._host.ledger.seq)
        for name, count in self._feed().items():
            yield self._count(f"feed_{name}", f"The feed's count of {name.replace('_', ' ')}", count)
        trouble = self._host.trouble is not None
        yield self._gauge("journal_trouble", "Whether something cannot be written", trouble)
        if self._kill_switch is not None:
            yield self._gauge("kill_switch_tripped", "Whether the kill switch is tripped", self._kill_switch.tripped)

    def describe(self) -> Iterator[Metric]:
        """Nothing ahead of time: what a feed counts is known when it runs."""
        yield from ()

    def _count(self, name: str, text: str, count: int) -> Metric:
        family = CounterMetricFamily(f"njord_{name}", text, labels=["daemon"])
        family.add_metric([self._host.name], count)
        return family

    def _counts(self, name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
        family = CounterMetricFamily(f"njord_{name}", text, labels=["daemon", label])
        for value, count in counts.items():
            family.add_metric([self._host.name, value], count)
        return family

    def _gauge(self, name: str, text: str, value: bool) -> Metric:
        family = GaugeMetricFamily(f"njord_{name}", text, labels=["daemon"])
        family.add_metric([self._host.name], float(value))
        return family
