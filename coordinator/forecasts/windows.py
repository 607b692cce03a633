"""Renewable windows: spans in which a site's power is green by an explicit rule.

Four rules, four different quantities (papers differ, so a window always says which): surplus (own generation above the
load), grid intensity below a threshold, renewable share above one, price at or below one. A window steers decisions; it
never counts as 100 % renewable in the books. A moment whose value is unknown is in no window.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from heliotrope.foundation.errors import InvalidInput
from heliotrope.foundation.jobspec import Strict

from .series import Floats, Series, Unit, unix_s, utc_at

RuleName: TypeAlias = Literal["surplus", "intensity_below", "renewable_above", "price_below"]

# Unit that the rule's threshold and series are in. The surplus rule's series is generation minus load.
RULE_UNITS: dict[RuleName, Unit] = {
    "surplus": "w",
    "intensity_below": "g_per_kwh",
    "renewable_above": "ratio",
    "price_below": "price_per_mwh",
}


class WindowRule(Strict):
    """How windows come from a series. ``threshold`` is in the rule's unit (:data:`RULE_UNITS`).

    surplus: generation - load > threshold; intensity_below: < ; renewable_above: > ; price_below: <= (0 is the usual
    proxy for curtailment). Spans shorter than ``shortest_s`` trace seconds are dropped.
    """

    rule: RuleName
    threshold: float = 0.0
    shortest_s: Annotated[float, Meta(ge=0)] = 0.0


class Window(msgspec.Struct, frozen=True):
    """A span [start_utc, end_utc)."""

    start_utc: datetime
    end_utc: datetime

    @property
    def length_s(self) -> float:
        return (self.end_utc - self.start_utc).total_seconds()


class Windows:
    """The windows of one site, in order, not touching each other; those of a repeating series go on for ever.

    A window that never ends (the rule always holds) is reported as ending one period from the moment asked.
    """

    def __init__(self, starts_s: Floats, ends_s: Floats, *, origin_s: float, period_s: float, repeat: bool) -> None:
        self._starts_s = starts_s
        self._ends_s = ends_s
        self._origin_s = origin_s
        self._period_s = period_s
        self._repeat = repeat
        self._always = repeat and starts_s.size == 1 and bool(ends_s[0] - starts_s[0] >= period_s)

    def window_at(self, utc: datetime) -> Window | None:
        """The window open at that moment, or None."""
        now_s = unix_s(utc)
        if self._always:
            return Window(utc, utc_at(now_s + self._period_s))
        for start_s, end_s in self._near(now_s):
            if start_s <= now_s < end_s:
                return Window(utc_at(start_s), utc_at(end_s))
        return None

    def next_window(self, utc: datetime) -> Window | None:
        """The first window that starts after that moment (the one open now is not it), or None."""
        now_s = unix_s(utc)
        if self._always:
            return None
        later = [(start_s, end_s) for start_s, end_s in self._near(now_s) if start_s > now_s]
        return Window(utc_at(later[0][0]), utc_at(later[0][1])) if later else None

    def remaining_s(self, utc: datetime) -> float:
        """How long the open window still lasts [trace s]; 0 if none is open."""
        window = self.window_at(utc)
        return 0.0 if window is None else unix_s(window.end_utc) - unix_s(utc)

    def between(self, start: datetime, end: datetime) -> list[Window]:
        """The windows that overlap [start, end), cut to it: what a time line draws."""
        first_s, last_s = unix_s(start), unix_s(end)
        if self._always:
            return [Window(start, end)] if last_s > first_s else []
        starts_s, ends_s = self._unrolled(first_s, last_s)
        keep = (ends_s > first_s) & (starts_s < last_s)
        return [
            Window(utc_at(max(a, first_s)), utc_at(min(b, last_s)))
            for a, b in zip(starts_s[keep].tolist(), ends_s[keep].tolist(), strict=True)
        ]

    def length_quantile_s(self, ratio: float) -> float | None:
        """A quantile of the windows' lengths [trace s], 1.0 the longest; None if there never is one."""
        if self._starts_s.size == 0:
            return None
        return float(np.quantile(self._ends_s - self._starts_s, ratio, method="lower"))

    @property
    def count(self) -> int:
        """Number of windows in one span of the series."""
        return int(self._starts_s.size)

    def _near(self, now_s: float) -> list[tuple[float, float]]:
        """The window before or around that moment and the next, in order."""
        if self._starts_s.size == 0:
            return []
        base_s = 0.0
        if self._repeat:
            base_s = float(np.floor((now_s - self._origin_s) / self._period_s)) * self._period_s
        index = int(np.searchsorted(self._starts_s, now_s - base_s, side="right"))
        found: list[tuple[float, float]] = []
        for position in (index - 1, index):
            turn, inside = divmod(position, self.count)
            if not self._repeat and turn != 0:
                continue
            shift_s = base_s + turn * self._period_s
            found.append((float(self._starts_s[inside]) + shift_s, float(self._ends_s[inside]) + shift_s))
        return found

    def _unrolled(self, first_s: float, last_s: float) -> tuple[Floats, Floats]:
        if not self._repeat or self._starts_s.size == 0:
            return self._starts_s, self._ends_s
        # One turn earlier, because a window may start in one turn and end in the next.
        low = int(np.floor((first_s - self._origin_s) / self._period_s)) - 1
        high = int(np.floor((last_s - self._origin_s) / self._period_s))
        shifts = np.repeat(np.arange(low, high + 1) * self._period_s, self.count)
        turns = high - low + 1
        return np.tile(self._starts_s, turns) + shifts, np.tile(self._ends_s, turns) + shifts


def find(series: Series, rule: WindowRule) -> Windows:
    """The windows of a series by a rule. Raises InvalidInput if the series is in another unit than the rule's."""
    wanted = RULE_UNITS[rule.rule]
    if series.unit != wanted:
        raise InvalidInput(
            f"field window.rule: {rule.rule} needs a series in {wanted}, {series.name} is in {series.unit}; "
            "choose a rule for that series or another series"
        )
    edges_s = np.append(series.times_s, series.end_s)
    green = _holds(series.values, rule)
    change = np.diff(np.concatenate(([False], green, [False])).astype(np.int8))
    starts_s = edges_s[np.flatnonzero(change == 1)]
    ends_s = edges_s[np.flatnonzero(change == -1)]
    if series.repeat:
        starts_s, ends_s = _join_turns(starts_s, ends_s, series)
    long_enough = ends_s - starts_s >= rule.shortest_s
    return Windows(
        starts_s[long_enough],
        ends_s[long_enough],
        origin_s=series.start_s,
        period_s=series.period_s,
        repeat=series.repeat,
    )


def _holds(values: Floats, rule: WindowRule) -> NDArray[np.bool_]:
    # Comparisons with NaN are false: unknown is never green.
    if rule.rule == "intensity_below":
        return values < rule.threshold
    if rule.rule == "price_below":
        return values <= rule.threshold
    return values > rule.threshold


def _join_turns(starts_s: Floats, ends_s: Floats, series: Series) -> tuple[Floats, Floats]:
    """A window open at the end of a repeating span goes on in its first window: join the two."""
    if starts_s.size < 2 or starts_s[0] > series.start_s or ends_s[-1] < series.end_s:
        return starts_s, ends_s
    first_length_s = ends_s[0] - starts_s[0]
    joined_ends_s = ends_s[1:].copy()
    joined_ends_s[-1] += first_length_s
    return starts_s[1:], joined_ends_s
