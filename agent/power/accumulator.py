"""Collects one batch: windows of devices, uses of devices, CPU time of owners; then closes the books over them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from .attribution import Use, attribute, round_energy
from .batch import UNATTRIBUTED, DeviceEnergy, EnergyShare
from .reading import Channel, ProcessUse, Scope
from .window import DeviceWindow, SensorWindow

_GPU_SCOPES = (Scope.GPU, Scope.MODULE)

Owner = Callable[[int], str]


class DeviceSum:
    """One device over one batch."""

    def __init__(self) -> None:
        self.energy_j = 0.0
        self.covered_s = 0.0
        self.min_w: float | None = None
        self.max_w: float | None = None
        self.reason = ""
        self.last_s: float | None = None

    def add(self, window: DeviceWindow, end_s: float) -> None:
        self.energy_j += window.energy_j
        self.covered_s += window.covered_s
        if window.min_w is not None:
            self.min_w = window.min_w if self.min_w is None else min(self.min_w, window.min_w)
        if window.max_w is not None:
            self.max_w = window.max_w if self.max_w is None else max(self.max_w, window.max_w)
        self.reason = self.reason or window.gap_reason
        self.last_s = end_s

    def energy(self, channel: Channel, span_s: float, missing_reason: str) -> DeviceEnergy:
        """The public record; one that is not covered says why."""
        coverage_ratio = min(1.0, self.covered_s / span_s) if span_s > 0 else 0.0
        if coverage_ratio > 0.999:  # a window ends a tick after its mark
            coverage_ratio = 1.0
        reason = self.reason or (missing_reason if coverage_ratio < 0.95 else "")
        return DeviceEnergy(
            device=channel.device,
            source=channel.source,
            scope=channel.scope.value,
            estimated=channel.estimated,
            energy_j=round_energy(self.energy_j),
            min_w=self.min_w,
            mean_w=self.energy_j / self.covered_s if self.covered_s > 0 else None,
            max_w=self.max_w,
            coverage_ratio=coverage_ratio,
            gap_reason=reason,
        )


class GpuUses:
    """Who used one GPU over one batch, by every measure that the driver gave."""

    def __init__(self) -> None:
        self.is_known = True
        self._weights: dict[str, dict[str, float]] = {"mig": {}, "sm": {}, "memory": {}, "equal": {}}
        self._sm_unknown = False
        self._span_s = 0.0

    def add(self, uses: Sequence[ProcessUse] | None, span_s: float, owner: Owner) -> None:
        """``uses`` of the span, or None where the driver did not tell."""
        self._span_s += span_s
        if uses is None:
            self.is_known = False
            return
        crowd: dict[str, int] = {}
        for use in uses:
            crowd[use.instance] = crowd.get(use.instance, 0) + 1
        for use in uses:
            name = owner(use.pid)
            if use.slice_ratio is not None:
                self._book("mig", name, use.slice_ratio * span_s / crowd[use.instance])
            elif use.sm_ratio is None:
                self._sm_unknown = True
            else:
                self._book("sm", name, use.sm_ratio * span_s)
            self._book("memory", name, (use.memory_bytes or 0) * span_s)
            self._book("equal", name, span_s / len(uses))

    def _book(self, rule: str, name: str, weight: float) -> None:
        self._weights[rule][name] = self._weights[rule].get(name, 0.0) + weight

    def use(self, holders: Sequence[str]) -> Use:
        """The best measure there is: MIG slices, SM time, memory, equal shares."""
        present = [name for name in self._weights["equal"] if name != UNATTRIBUTED]
        holding = tuple(holders) or tuple(sorted(present))
        if self._weights["mig"]:
            return Use(rule="mig", weights=self._weights["mig"], full_weight=self._span_s, holders=holding)
        if not self._sm_unknown:
            return Use(rule="sm", weights=self._weights["sm"], holders=holding, is_known=self.is_known)
        rule = "memory" if any(self._weights["memory"].values()) else "equal"
        return Use(rule=rule, weights=self._weights[rule], holders=holding)


class Accumulator:
    """Everything of one batch, [``start_s``, ``end_s``) on the monotonic clock."""

    def __init__(self, start_s: float, end_s: float) -> None:
        self.start_s = start_s
        self.end_s = end_s
        self._devices: dict[str, DeviceSum] = {}
        self._gpus: dict[str, GpuUses] = {}
        self._cpu_s: dict[str, float] = {}
        self._jobs: set[str] = set()
        self._grouped: set[str] = set()
        self._treed: set[str] = set()

    def add_window(self, window: SensorWindow, owner: Owner) -> None:
        """Take a window of any sensor; which of the devices count is said at :meth:`close`."""
        for device in window.devices:
            self._devices.setdefault(device.device, DeviceSum()).add(device, window.end_s)
        for name, uses in window.uses.items():
            span_s = window.uses_span_s or window.end_s - window.start_s
            self._gpus.setdefault(name, GpuUses()).add(uses, span_s, owner)

    def add_cpu(self, used_s: Mapping[str, float], jobs: Sequence[str], grouped: Collection[str] = frozenset()) -> None:
        """CPU seconds per owner ("?" included), and the jobs that were there; ``grouped`` by their control groups."""
        self._grouped.update(job for job in jobs if job in grouped)
        self._treed.update(job for job in jobs if job not in grouped)
        for owner, seconds in used_s.items():
            self._cpu_s[owner] = self._cpu_s.get(owner, 0.0) + seconds
        self._jobs.update(jobs)

    def reached_s(self, device: str) -> float | None:
        """The end of the last window that came for a device."""
        found = self._devices.get(device)
        return found.last_s if found else None

    def covered_s(self, device: str) -> float:
        """Measured seconds of a device so far."""
        found = self._devices.get(device)
        return found.covered_s if found else 0.0

    def close(
        self,
        channels: Mapping[str, Channel],
        *,
        idle_w: Mapping[str, float],
        idle_rule: str,
        holders: Mapping[str, Sequence[str]],
        missing_reason: str,
    ) -> tuple[tuple[DeviceEnergy, ...], tuple[EnergyShare, ...]]:
        """The batch's devices and shares. ``idle_w``: device -> power drawn whatever is done, where it is known."""
        devices: list[DeviceEnergy] = []
        shares: list[EnergyShare] = []
        for name, channel in sorted(channels.items()):
            total = self._devices.get(name) or DeviceSum()
            energy = total.energy(channel, self.end_s - self.start_s, missing_reason)
            devices.append(energy)
            idle_j = idle_w.get(name, 0.0) * total.covered_s
            use = self._use(channel, holders.get(name, ()))
            shares += attribute(name, energy.energy_j, use, idle_j=idle_j, idle_rule=idle_rule)
        return tuple(devices), tuple(shares)

    def _use(self, channel: Channel, holders: Sequence[str]) -> Use:
        if channel.scope in _GPU_SCOPES:
            if channel.device in self._gpus:
                return self._gpus[channel.device].use(holders)
            return Use(rule="sm", holders=tuple(holders), is_known=False)
        jobs = sorted(self._jobs)
        # Without a job the machine is idle, whatever little its own services do.
        weights = self._cpu_s if jobs else {}
        rules = dict.fromkeys(self._grouped - self._treed, "cgroup")
        return Use(rule="cpu", rules=rules, weights=weights, holders=jobs)
