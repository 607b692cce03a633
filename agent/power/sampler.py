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
    0. Drivers' calls are what watching costs, so counters are read at the marks only, where power is known between
    them, and the lists of processes at every ``uses_every``-th mark: drivers keep the samples of their use until then.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        rate_hz: float,
        flush_s: float,
        origin_s: float,
        seeds: Mapping[str, Seed] | None = None,
        uses_every: int = 1,
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
        self._uses_every = uses_every
        self._uses_s = 0.0  # when the processes were listed last

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next tick of the grid."""
        ticks = math.floor((now_s - self._origin_s) / self._period_s + 1e-6) + 1
        return max(0.0, self._origin_s + ticks * self._period_s - now_s)

    def tick(self, now_s: float) -> SensorWindow | None:
        """Read everything once; the window that a mark of the grid has ended, if any. Raises SensorError (FATAL)."""
        mark = math.floor((now_s - self._origin_s) / self._flush_s + 1e-6)
        is_first = self._start_s is None
        for source in self._sources:
            for reading in source.read(counters=is_first or mark != self._mark):
                self._integrators[reading.device].add(reading)
        if is_first:
            self._start_s, self._mark = now_s, mark
            self._uses(now_s)  # the first answer covers a time before the window
            return None
        if mark == self._mark:
            return None
        # Also where marks were missed: no list of processes is put off by more than its period.
        has_uses = mark // self._uses_every != self._mark // self._uses_every
        self._mark = mark
        return self._window(now_s, has_uses=has_uses)

    def flush(self, now_s: float) -> SensorWindow | None:
        """The window so far, whatever the grid says; None before the first tick. For the last moment before a stop."""
        if self._start_s is None:
            return None
        for source in self._sources:
            for reading in source.read():
                self._integrators[reading.device].add(reading)
        return self._window(now_s, has_uses=True)

    def _window(self, now_s: float, *, has_uses: bool) -> SensorWindow:
        uses_span_s = now_s - self._uses_s
        window = SensorWindow(
            start_s=self._start_s if self._start_s is not None else now_s,
            end_s=now_s,
            devices=tuple(integrator.close() for integrator in self._integrators.values()),
            uses=self._uses(now_s) if has_uses else {},
            uses_span_s=uses_span_s if has_uses else 0.0,
        )
        self._start_s = now_s
        return window

    def _uses(self, now_s: float) -> dict[str, list[ProcessUse] | None]:
        self._uses_s = now_s
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
