"""Readings of one device in, joules out: pure arithmetic, no clock and no driver.

The energy counter is preferred, because it misses nothing between two reads, and so need not be read at every tick.
Power x time (trapezoid) is summed beside it and stands in where there is no counter or it cannot be trusted. What
neither can tell stays uncovered: a gap with its reason, never an invented number.
"""

from __future__ import annotations

from .reading import Channel, Health, Reading
from .window import DeviceWindow, Seed

MAX_PLAUSIBLE_W = 20_000.0  # no single device draws more; a counter that says so was reset or misread
MAX_BRIDGE_S = 60.0  # longer silences stay gaps: their energy would be booked in the wrong interval
STUCK_S = 2.0  # a counter that stands still this long under power is stale
_YOUNG_RATIO = 2.0  # a counter below this many times what was drawn since it was read last tells nothing about resets
_DERIVE_STEPS = 10  # power from counter differences over at least this many of its steps: 10 % error at most


class Integrator:
    """Sums one channel's readings; two that lie further apart than ``gap_s`` are not joined by a trapezoid."""

    def __init__(self, channel: Channel, *, gap_s: float, seed: Seed | None = None) -> None:
        self.channel = channel
        self._gap_s = gap_s
        self._last_s: float | None = seed.taken_s if seed else None
        self._counter_j: float | None = seed.counter_j if seed else None
        self._counter_s = self._last_s or 0.0  # when the counter was read last
        self._power_w: float | None = None
        self._advanced_s = self._last_s or 0.0  # when the counter last moved
        self._is_stale = False
        # By power since the counter was read last: not booked yet, and booked although the counter may give it again.
        self._pending_j = self._pending_s = 0.0
        self._owed_j = self._owed_s = 0.0
        self._silence_s = 0.0
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
        if self._last_s is not None:
            if reading.taken_s <= self._last_s:
                return
            self._trapezoid(reading, reading.taken_s - self._last_s)
        if reading.energy_j is not None:
            self._count(reading, reading.energy_j)
        elif self._counter_j is None:
            self._book_pending()
        self._observe_power(reading)
        self._last_s = reading.taken_s
        self._power_w = reading.power_w

    def _trapezoid(self, reading: Reading, span_s: float) -> None:
        if span_s > self._gap_s:
            self._silence_s = max(self._silence_s, span_s)
        elif self._power_w is not None and reading.power_w is not None:
            self._pending_j += (self._power_w + reading.power_w) / 2 * span_s
            self._pending_s += span_s

    def _count(self, reading: Reading, counter_j: float) -> None:
        """Book the time since the counter was read last: by the counter, else by power."""
        span_s = reading.taken_s - self._counter_s
        energy_j = self._counted(reading, counter_j, span_s)
        if energy_j is None:
            self._book_pending()
        else:
            self._say_silence("bridged by the energy counter")
            self._energy_j += energy_j
            self._covered_s += max(0.0, span_s - self._owed_s)
            self._pending_j = self._pending_s = 0.0
        if self._counter_j != counter_j:
            self._advanced_s, self._is_stale, self._owed_j = reading.taken_s, False, 0.0
        self._counter_j, self._counter_s, self._owed_s = counter_j, reading.taken_s, 0.0

    def _book_pending(self) -> None:
        self._say_silence("not measured")
        self._energy_j += self._pending_j
        self._covered_s += self._pending_s
        self._pending_j = self._pending_s = 0.0

    def _say_silence(self, outcome: str) -> None:
        if self._silence_s:
            self._reason = self._reason or f"no readings for {self._silence_s:.1f} s, {outcome}"
        self._silence_s = 0.0

    def _counted(self, reading: Reading, counter_j: float, span_s: float) -> float | None:
        """Joules by the counter that are not booked yet; None where it cannot tell."""
        if self._counter_j is None or span_s > MAX_BRIDGE_S:
            return None
        energy_j = counter_j - self._counter_j
        if energy_j < 0 and self.channel.wrap_j > 0:
            energy_j += self.channel.wrap_j
        # Where the counter could have gone round more than once, its difference says nothing.
        could_lap = 0 < self.channel.wrap_j < MAX_PLAUSIBLE_W / 4 * span_s and span_s > self._gap_s
        if energy_j < 0 or energy_j > MAX_PLAUSIBLE_W * (span_s + self.channel.counter_step_s) or could_lap:
            self._reason = self._reason or "energy counter was reset"
            return None
        if self._pending_s > 0.5 * span_s and counter_j < _YOUNG_RATIO * self._pending_j:
            return None  # it began to count so lately that it may have been reset again without getting smaller
        if energy_j > 0:
            return energy_j - min(self._owed_j, energy_j)
        return self._stuck(reading, span_s)

    def _stuck(self, reading: Reading, span_s: float) -> float:
        """The counter did not move: normal between two of its steps, stale when it lasts while power is drawn."""
        still_s = reading.taken_s - self._advanced_s
        limit_s = max(STUCK_S, _DERIVE_STEPS * self.channel.counter_step_s)
        if not reading.power_w or still_s <= limit_s:
            return 0.0
        self._reason = self._reason or "energy counter stands still, power x time used"
        energy_j = reading.power_w * (span_s if self._is_stale else still_s)
        energy_j = energy_j if self._is_stale else max(0.0, energy_j - self._owed_j)
        self._is_stale = True
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
        """The sums since the last close; the time after the last reading goes to the next window.

        What was measured by power only, because the counter did not answer at the end, is booked and remembered.
        """
        if self._pending_s:
            self._owed_j += self._pending_j
            self._owed_s += self._pending_s
            self._book_pending()
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
            taken_s=self._counter_s if self._counter_j is not None else self._last_s or 0.0,
        )
        self._clear()
        return window
