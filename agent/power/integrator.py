"""Readings of one device in, joules out: pure arithmetic, no clock and no driver.

The energy counter is preferred, because it misses nothing between two reads; power x time (trapezoid) stands in where
there is no counter or it cannot be trusted. What neither can tell stays uncovered: a gap with its reason, never an
invented number.
"""

from __future__ import annotations

from .reading import Channel, Health, Reading
from .window import DeviceWindow, Seed

MAX_PLAUSIBLE_W = 20_000.0  # no single device draws more; a counter that says so was reset or misread
MAX_BRIDGE_S = 60.0  # longer silences stay gaps: their energy would be booked in the wrong interval
STUCK_S = 2.0  # a counter that stands still this long under power is stale
_DERIVE_STEPS = 10  # power from counter differences over at least this many of its steps: 10 % error at most


class Integrator:
    """Sums one channel's readings; two that lie further apart than ``gap_s`` are not joined by a trapezoid."""

    def __init__(self, channel: Channel, *, gap_s: float, seed: Seed | None = None) -> None:
        self.channel = channel
        self._gap_s = gap_s
        self._last_s: float | None = seed.taken_s if seed else None
        self._counter_j: float | None = seed.counter_j if seed else None
        self._power_w: float | None = None
        self._advanced_s = self._last_s or 0.0  # when the counter last moved
        self._owed_j = 0.0  # booked from power while the counter stood still; it may come back in one jump
        self._anchor: tuple[float, float] | None = None
        self._latest_w: float | None = None
        self._clear()

    def _clear(self) -> None:
        self._energy_j = 0.0
        self._covered_s = 0.0
        self._min_w: float | None = None
        self._max_w: float | None = None
        self._reason = ""

    def add(self, reading: Reading) -> None:
        """Take one reading; failed ones and ones that are not newer than the last add no energy."""
        if reading.health is not Health.LIVE:
            self._reason = self._reason or reading.error
            self._latest_w = None
            return
        if self._last_s is not None and reading.taken_s > self._last_s:
            self._join(reading, reading.taken_s - self._last_s)
        if self._last_s is None or reading.taken_s > self._last_s:
            self._observe_power(reading)
            if self._counter_j != reading.energy_j:
                self._advanced_s = reading.taken_s
            self._last_s = reading.taken_s
            self._counter_j = reading.energy_j if reading.energy_j is not None else self._counter_j
            self._power_w = reading.power_w

    def _join(self, reading: Reading, span_s: float) -> None:
        is_silence = span_s > self._gap_s
        energy_j = self._counted(reading, span_s)
        if energy_j is None and not is_silence and self._power_w is not None and reading.power_w is not None:
            energy_j = (self._power_w + reading.power_w) / 2 * span_s
        if is_silence:
            outcome = "not measured" if energy_j is None else "bridged by the energy counter"
            self._reason = self._reason or f"no readings for {span_s:.1f} s, {outcome}"
        if energy_j is not None:
            self._energy_j += energy_j
            self._covered_s += span_s

    def _counted(self, reading: Reading, span_s: float) -> float | None:
        """Joules by the counter since the last reading; None where it cannot tell."""
        if reading.energy_j is None or self._counter_j is None or span_s > MAX_BRIDGE_S:
            return None
        energy_j = reading.energy_j - self._counter_j
        if energy_j < 0 and self.channel.wrap_j > 0:
            energy_j += self.channel.wrap_j
        # Where the counter could have gone round more than once, its difference says nothing.
        could_lap = 0 < self.channel.wrap_j < MAX_PLAUSIBLE_W / 4 * span_s and span_s > self._gap_s
        if energy_j < 0 or energy_j > MAX_PLAUSIBLE_W * (span_s + self.channel.counter_step_s) or could_lap:
            self._reason = self._reason or "energy counter was reset"
            self._owed_j = 0.0
            return None
        if energy_j > 0:
            paid_j = min(self._owed_j, energy_j)
            self._owed_j = 0.0
            return energy_j - paid_j
        return self._stuck(reading, span_s)

    def _stuck(self, reading: Reading, span_s: float) -> float:
        """The counter did not move: normal between two of its steps, stale when it lasts while power is drawn."""
        still_s = reading.taken_s - self._advanced_s
        limit_s = max(STUCK_S, _DERIVE_STEPS * self.channel.counter_step_s)
        if not reading.power_w or still_s <= limit_s:
            return 0.0
        self._reason = self._reason or "energy counter stands still, power x time used"
        energy_j = reading.power_w * (span_s if self._owed_j else still_s)
        self._owed_j += energy_j
        return energy_j

    def _observe_power(self, reading: Reading) -> None:
        power_w = reading.power_w if reading.power_w is not None else self._derived_w(reading)
        if power_w is None:
            return
        self._latest_w = power_w
        self._min_w = power_w if self._min_w is None else min(self._min_w, power_w)
        self._max_w = power_w if self._max_w is None else max(self._max_w, power_w)

    def _derived_w(self, reading: Reading) -> float | None:
        """Mean power since the anchor, for channels that have a counter only."""
        if reading.energy_j is None:
            return None
        now = (reading.taken_s, reading.energy_j)
        if self._anchor is None or now[1] < self._anchor[1] or now[0] - self._anchor[0] > max(self._gap_s, 10.0):
            self._anchor = now
            return None
        span_s = now[0] - self._anchor[0]
        if span_s < _DERIVE_STEPS * self.channel.counter_step_s or span_s <= 0:
            return None
        power_w = (now[1] - self._anchor[1]) / span_s
        self._anchor = now
        return power_w if power_w <= MAX_PLAUSIBLE_W else None

    def close(self) -> DeviceWindow:
        """The sums since the last close; the time after the last reading goes to the next window."""
        window = DeviceWindow(
            device=self.channel.device,
            source=self.channel.source,
            scope=self.channel.scope,
            estimated=self.channel.estimated,
            energy_j=self._energy_j,
            covered_s=self._covered_s,
            min_w=self._min_w,
            max_w=self._max_w,
            latest_w=self._latest_w,
            gap_reason=self._reason,
            counter_j=self._counter_j,
            taken_s=self._last_s or 0.0,
        )
        self._clear()
        return window
