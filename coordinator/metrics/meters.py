"""Counts events of the control plane as they are committed, with the library's own counters and histograms."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

from heliotrope.foundation.metrics import Family

from . import families as f


class Meters:
    """One coordinator's; thread-safe. Always there, so that nobody asks whether somebody scrapes."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # process_start_time_seconds says the same once, not once a series
        self.registry = CollectorRegistry()
        self._command = self._histogram(f.COMMAND)
        self._message = self._histogram(f.MESSAGE)
        self._commit = self._histogram(f.COMMIT)
        self._tick = self._histogram(f.TICK)
        self._decisions = self._counter(f.DECISIONS)
        self._migrations = self._counter(f.MIGRATIONS)
        self._standstill = self._histogram(f.STANDSTILL)
        self._standstill_network = self._histogram(f.STANDSTILL_NETWORK)
        self._standstill_ratio = self._histogram(f.STANDSTILL_RATIO)
        self._site_energy = self._counter(f.SITE_ENERGY)
        self._site_renewable = self._counter(f.SITE_RENEWABLE)
        self._site_unknown = self._counter(f.SITE_UNKNOWN)
        self._site_carbon = self._counter(f.SITE_CARBON)
        self._site_carbon_unmoved = self._counter(f.SITE_CARBON_UNMOVED)

    def command_done(self, order: str, result: str, round_trip_s: float) -> None:
        """``result``: done, or the error's class."""
        self._command.labels(order, result).observe(max(0.0, round_trip_s))

    def message_taken(self, kind: str, taken_s: float) -> None:
        self._message.labels(kind).observe(taken_s)

    def committed(self, commit_s: float) -> None:
        self._commit.observe(commit_s)

    def planned(self, tick_s: float) -> None:
        self._tick.observe(tick_s)

    def decided(self, action: str, binding: str) -> None:
        self._decisions.labels(action, binding).inc()

    def migration_ended(self, kind: str, result: str) -> None:
        self._migrations.labels(kind, result).inc()

    def stood_still(self, total_s: float, network_s: float | None, expected_s: float | None) -> None:
        """A move's standstill; None for what is not known of it."""
        self._standstill.observe(max(0.0, total_s))
        if network_s is not None:
            self._standstill_network.observe(max(0.0, network_s))
        if expected_s:
            self._standstill_ratio.observe(max(0.0, total_s) / expected_s)

    def booked(
        self, site: str, energy_uj: int, renewable_uj: int, unknown_uj: int, carbon_ng: int, carbon_static_ng: int
    ) -> None:
        """What entered the ledger's chains; ``unknown_uj``: energy whose carbon nobody knows."""
        self._site_energy.labels(site).inc(energy_uj / 1e6)
        self._site_renewable.labels(site).inc(renewable_uj / 1e6)
        self._site_unknown.labels(site).inc(unknown_uj / 1e6)
        self._site_carbon.labels(site).inc(carbon_ng / 1e9)
        self._site_carbon_unmoved.labels(site).inc(carbon_static_ng / 1e9)

    def _counter(self, family: Family) -> Counter:
        return Counter(family.name, family.help, family.labels, registry=self.registry)

    def _histogram(self, family: Family) -> Histogram:
        return Histogram(family.name, family.help, family.labels, buckets=family.buckets, registry=self.registry)
