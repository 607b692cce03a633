"""Reads all sources at a steady rate and sums locally; a window goes out at every mark of a grid that all samplers
share.

Ticks lie at origin + n x period on the monotonic clock: a late tick does not move the next one, and missed ones are
skipped, not caught up in a burst.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from .integrator import Integrator
from .reading import ProcessUse
from .source import ProcessSource, Source
from .window import Seed, SensorWindow


class Sampler:
    """Drives sources; knows no thread and does not sleep.

    ``rate_hz`` reads per second, ``flush_s`` the span of a window, ``origin_s`` the monotonic time of the grid's mark
    0.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        rate_hz: float,
        flush_s: float,
        origin_s: float,
        seeds: Mapping[str, Seed] | None = None,
    ) -> None:
        self._sources = list(sources)
        self._period_s = 1.0 / rate_hz
        self._flush_s = flush_s
        self._origin_s = origin_s
        gap_s = max(4 * self._period_s, 0.5)
        known = seeds or {}
        self._integrators = {
            channel.device: Integrator(channel, gap_s=gap_s, seed=known.get(channel.device))
            for source in self._sources
            for channel in source.channels
        }
        self._start_s: float | None = None
        self._mark = 0

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next tick of the grid."""
        ticks = math.floor((now_s - self._origin_s) / self._period_s + 1e-6) + 1
        return max(0.0, self._origin_s + ticks * self._period_s - now_s)

    def tick(self, now_s: float) -> SensorWindow | None:
        """Read everything once; the window that a mark of the grid has ended, if any. Raises SensorError (FATAL)."""
        for source in self._sources:
            for reading in source.read():
                self._integrators[reading.device].add(reading)
        mark = math.floor((now_s - self._origin_s) / self._flush_s + 1e-6)
        if self._start_s is None:
            self._start_s, self._mark = now_s, mark
            self._uses()  # the first answer covers a time before the window
            return None
        if mark == self._mark:
            return None
        self._mark = mark
        return self.flush(now_s)

    def flush(self, now_s: float) -> SensorWindow | None:
        """The window so far, whatever the grid says; None before the first tick. For the last moment before a stop."""
        if self._start_s is None:
            return None
        window = SensorWindow(
            start_s=self._start_s,
            end_s=now_s,
            devices=tuple(integrator.close() for integrator in self._integrators.values()),
            uses=self._uses(),
        )
        self._start_s = now_s
        return window

    def _uses(self) -> dict[str, list[ProcessUse] | None]:
        found: dict[str, list[ProcessUse] | None] = {}
        for source in self._sources:
            if isinstance(source, ProcessSource):
                found.update(source.uses())
        return found

    def close(self) -> None:
        """Release all drivers."""
        for source in self._sources:
            source.close()


def run(
    sampler: Sampler,
    *,
    monotonic_s: Callable[[], float],
    wait: Callable[[float], bool],
    emit: Callable[[SensorWindow], None],
) -> None:
    """Tick until ``wait(seconds)`` returns True (asked to stop); every window goes to ``emit``. Raises SensorError
    (FATAL).
    """
    while not wait(sampler.wait_s(monotonic_s())):
        window = sampler.tick(monotonic_s())
        if window is not None:
            emit(window)
