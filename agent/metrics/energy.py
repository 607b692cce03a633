"""Energy as counters: batches are summed as they close, and read when somebody scrapes."""

from __future__ import annotations

import threading
from collections import defaultdict

from heliotrope.foundation.clock import Clock
from heliotrope.foundation.metrics import Samples

from ..power.batch import IDLE, UNATTRIBUTED, DeviceEnergy, EnergyBatch
from ..power.monitor import PowerMonitor
from . import families as f

LEAVE_S = 900.0  # a job's series stay for so long after its last joules: two scrapes at the slowest usual interval
GAP_RATIO = 0.95  # as the batches' own reasons: what is covered better is no gap

DeviceKey = tuple[str, str, str, str]


class EnergyTotals:
    """Sums since the start. :meth:`add` is called by the monitor's thread once a batch, the rest by scrapes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._device_j: defaultdict[DeviceKey, float] = defaultdict(float)
        self._idle_j: defaultdict[str, float] = defaultdict(float)
        self._unattributed_j: defaultdict[str, float] = defaultdict(float)
        self._covered_s: defaultdict[str, float] = defaultdict(float)
        self._gap_s: defaultdict[str, float] = defaultdict(float)
        self._gaps: defaultdict[str, int] = defaultdict(int)
        self._coverage: dict[str, float] = {}
        self._job_j: dict[tuple[str, str, str], float] = {}
        self._job_seen_s: dict[str, float] = {}
        self._batch_count = 0

    def add(self, batch: EnergyBatch) -> None:
        """Book a closed batch; books of jobs that had no joules for LEAVE_S end."""
        span_s = (batch.end_utc - batch.start_utc).total_seconds()
        now_s = self._clock.monotonic_s()
        with self._lock:
            self._batch_count += 1
            for device in batch.devices:
                self._add_device(device, span_s)
            for share in batch.shares:
                if share.job_id == IDLE:
                    self._idle_j[share.device] += share.energy_j
                elif share.job_id == UNATTRIBUTED:
                    self._unattributed_j[share.device] += share.energy_j
                else:
                    key = (share.job_id, share.device, share.rule)
                    self._job_j[key] = self._job_j.get(key, 0.0) + share.energy_j
                    self._job_seen_s[share.job_id] = now_s
            self._forget(now_s)

    def _add_device(self, device: DeviceEnergy, span_s: float) -> None:
        name = device.device
        if device.coverage_ratio > 0:
            self._device_j[device_labels(name, device.source, device.scope, device.estimated)] += device.energy_j
            self._idle_j[name] += 0.0  # the books of a measured device are shown whole, empty parts too
            self._unattributed_j[name] += 0.0
        self._covered_s[name] += span_s * device.coverage_ratio
        self._gap_s[name] += span_s * (1.0 - device.coverage_ratio)
        was_covered = self._coverage.get(name, 1.0) >= GAP_RATIO
        self._gaps[name] += was_covered and device.coverage_ratio < GAP_RATIO
        self._coverage[name] = device.coverage_ratio

    def _forget(self, now_s: float) -> None:
        over = {job for job, seen_s in self._job_seen_s.items() if now_s - seen_s > LEAVE_S}
        if over:
            self._job_j = {key: energy_j for key, energy_j in self._job_j.items() if key[0] not in over}
            self._job_seen_s = {job: seen_s for job, seen_s in self._job_seen_s.items() if job not in over}

    def collect(self, samples: Samples) -> None:
        with self._lock:
            samples.add(f.BATCHES, self._batch_count)
            for key, energy_j in self._device_j.items():
                samples.add(f.DEVICE_ENERGY, energy_j, *key)
            for family, figures in (
                (f.DEVICE_IDLE, self._idle_j),
                (f.DEVICE_UNATTRIBUTED, self._unattributed_j),
                (f.DEVICE_COVERED, self._covered_s),
                (f.DEVICE_GAP, self._gap_s),
                (f.DEVICE_GAPS, self._gaps),
                (f.DEVICE_COVERAGE, self._coverage),
            ):
                for device, value in figures.items():
                    samples.add(family, value, device)
            for (job, device, rule), energy_j in self._job_j.items():
                samples.add(f.JOB_ENERGY, energy_j, job, device, rule)


def device_labels(device: str, source: str, scope: str, estimated: bool) -> DeviceKey:
    """The labels of a device's energy and power."""
    return device, source, scope, "true" if estimated else "false"


def collect_power(samples: Samples, monitor: PowerMonitor, clock: Clock) -> None:
    """What the monitor knows now."""
    current, taken_s, now_s = monitor.current(), monitor.taken_s, clock.monotonic_s()
    sources: dict[str, bool] = {}
    for channel in monitor.channels:
        labels = device_labels(channel.device, channel.source, channel.scope.value, channel.estimated)
        samples.add(f.DEVICE_POWER, current.device_w.get(channel.device), *labels)
        age_s = max(0.0, now_s - taken_s[channel.device]) if channel.device in taken_s else None
        samples.add(f.DEVICE_AGE, age_s, channel.device)
        is_fresh = age_s is not None and age_s <= monitor.reading_limit_s
        sources[channel.source] = sources.get(channel.source, True) and is_fresh
    for source, is_up in sources.items():
        samples.add(f.SOURCE_UP, is_up, source)
    for job, power_w in current.job_w.items():
        samples.add(f.JOB_POWER, power_w, job)
    samples.add(f.SENSOR_RESTARTS, monitor.sensor_restart_count)
    samples.add(f.SENSOR_PROBLEMS, len(monitor.problems))
