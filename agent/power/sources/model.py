"""The last resort: power by declaration, idle_w + (max_w - idle_w) x utilisation, always marked estimated.

As an energy counter it is exact in its own terms: it integrates CPU time, which the kernel counts without sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import psutil

from ..config import ModelConfig
from ..reading import Channel, Reading, Scope
from .names import MODEL

DEVICE = "model:host"
_STEP_S = 0.05


def host_busy_s() -> float:
    """CPU seconds that all processors together spent not idle since boot (psutil)."""
    times = psutil.cpu_times()
    # guest time is contained in user time; waiting for a disk is idle
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


class ModelSource:
    """``busy_s`` is a cumulative count of busy CPU seconds: the host's, or that of some process trees."""

    def __init__(
        self,
        config: ModelConfig,
        *,
        busy_s: Callable[[], float],
        cpu_count: int,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._config = config
        self._busy = busy_s
        self._cpu_count = cpu_count
        self._monotonic_s = monotonic_s
        self._energy_j = 0.0
        self._last: tuple[float, float] | None = None
        self._channel = Channel(
            device=DEVICE, source=MODEL, scope=Scope.NODE, estimated=True, has_counter=True, counter_step_s=_STEP_S
        )

    @property
    def name(self) -> str:
        return MODEL

    @property
    def channels(self) -> Sequence[Channel]:
        return [self._channel]

    def keep(self, devices: frozenset[str]) -> None:
        """One channel only; nothing to leave out."""

    def read(self, *, counters: bool = True) -> list[Reading]:
        """The modelled joules so far; power is derived from them, over spans that the clock tick of 10 ms does not
        blur.
        """
        now_s, busy_s = self._monotonic_s(), self._busy()
        if self._last is not None and now_s > self._last[0]:
            span_s = now_s - self._last[0]
            busy_ratio = max(0.0, busy_s - self._last[1]) / (span_s * self._cpu_count)
            power_w = self._config.idle_w + (self._config.max_w - self._config.idle_w) * min(1.0, busy_ratio)
            self._energy_j += power_w * span_s
        self._last = (now_s, busy_s)
        reading = Reading(
            device=DEVICE,
            source=MODEL,
            scope=Scope.NODE,
            taken_s=now_s,
            energy_j=self._energy_j,
        )
        return [reading]

    def close(self) -> None:
        """No driver to release."""
