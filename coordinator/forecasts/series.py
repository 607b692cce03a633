"""A time series of one quantity at one place: a step function over UTC that never invents a value.

Every series says what it is (kind, scope, unit), because a marginal intensity must never be compared with an average
one. A value holds from its time stamp to the next; outside its span, and wherever the value is NaN, the quantity is
*unknown*, and so is every mean and integral that touches such a moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from heliotrope.foundation.errors import InvalidInput

Floats: TypeAlias = NDArray[np.float64]
Kind: TypeAlias = Literal["average", "marginal", "percentile"]
Scope: TypeAlias = Literal["life-cycle", "direct", "none"]  # none: the quantity is not an emission factor
Unit: TypeAlias = Literal["g_per_kwh", "ratio", "w", "price_per_mwh"]

DAY_S = 86400.0


def unix_s(utc: datetime) -> float:
    """Seconds since 1970 of an aware point in time. Raises InvalidInput for one without a zone."""
    if utc.tzinfo is None:
        raise InvalidInput(f"cannot use time {utc.isoformat()}: it has no time zone; give it in UTC")
    return utc.timestamp()


def utc_at(seconds: float) -> datetime:
    """The UTC time of seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


@dataclass(frozen=True, eq=False)
class Series:
    """Values over time. ``times_s`` (n,) [Unix s, rising], ``values`` (n,) [``unit``], the last one holds to ``end_s``.

    ``repeat``: the span from the first time stamp to ``end_s`` goes on for ever in both directions (demos, and the sun,
    whose year repeats). Raises InvalidInput if the arrays do not fit or times do not rise.
    """

    name: str
    unit: Unit
    times_s: Floats
    values: Floats
    end_s: float
    kind: Kind = "average"
    scope: Scope = "none"
    repeat: bool = False
    _edges_s: Floats = field(init=False, repr=False)
    _sums: Floats = field(init=False, repr=False)  # integral of the known part up to each edge
    _known_s: Floats = field(init=False, repr=False)  # known seconds up to each edge

    def __post_init__(self) -> None:
        times = np.ascontiguousarray(self.times_s, dtype=np.float64)
        values = np.ascontiguousarray(self.values, dtype=np.float64)
        if times.ndim != 1 or times.shape != values.shape or times.size == 0:
            raise InvalidInput(f"cannot build series {self.name}: {times.shape} times for {values.shape} values")
        edges = np.append(times, self.end_s)
        if not np.all(np.diff(edges) > 0):
            raise InvalidInput(f"cannot build series {self.name}: its times do not rise; sort and deduplicate them")
        if np.any(np.isinf(values)):
            raise InvalidInput(f"cannot build series {self.name}: a value is infinite; leave it out as unknown")
        steps = np.diff(edges)
        known = np.where(np.isnan(values), 0.0, steps)
        sums = np.concatenate(([0.0], np.cumsum(np.nan_to_num(values) * known)))
        for name, array in (
            ("times_s", times),
            ("values", values),
            ("_edges_s", edges),
            ("_sums", sums),
            ("_known_s", np.concatenate(([0.0], np.cumsum(known)))),
        ):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def start_s(self) -> float:
        return float(self.times_s[0])

    @property
    def period_s(self) -> float:
        """Length of the span [s]."""
        return self.end_s - self.start_s

    def at_s(self, seconds: Floats) -> Floats:
        """Values at Unix times, any shape; NaN where unknown."""
        inside = self._fold(np.asarray(seconds, dtype=np.float64))
        index = np.searchsorted(self.times_s, inside, side="right") - 1
        outside = (inside < self.start_s) | (inside >= self.end_s)
        return np.where(outside, np.nan, self.values[np.clip(index, 0, None)])

    def at(self, utc: datetime) -> float:
        """The value at a moment; NaN if unknown."""
        return float(self.at_s(np.array(unix_s(utc))))

    def integral(self, start: datetime, end: datetime) -> float:
        """Integral over [start, end) in unit x seconds (W gives J); NaN if any moment of it is unknown."""
        first_s, last_s = self._order(start, end)
        total, known_s = self._accumulate(first_s, last_s)
        # The tolerance is for the rounding of sums over years of seconds, not for missing data.
        return total if known_s >= (last_s - first_s) - 1e-3 else float("nan")

    def mean(self, start: datetime, end: datetime) -> float:
        """Time-weighted mean over [start, end), the value itself if both are equal; NaN if any moment is unknown."""
        if start == end:
            return self.at(start)
        return self.integral(start, end) / (unix_s(end) - unix_s(start))

    def coverage_ratio(self, start: datetime, end: datetime) -> float:
        """Share of [start, end) in which the value is known, 0..1."""
        first_s, last_s = self._order(start, end)
        if first_s == last_s:
            return 0.0 if np.isnan(self.at(start)) else 1.0
        return min(1.0, self._accumulate(first_s, last_s)[1] / (last_s - first_s))

    def _order(self, start: datetime, end: datetime) -> tuple[float, float]:
        first_s, last_s = unix_s(start), unix_s(end)
        if last_s < first_s:
            raise InvalidInput(f"cannot average {self.name}: the end {end} lies before the start {start}; swap them")
        return first_s, last_s

    def _fold(self, seconds: Floats) -> Floats:
        if not self.repeat:
            return seconds
        return self.start_s + np.mod(seconds - self.start_s, self.period_s)

    def _accumulate(self, first_s: float, last_s: float) -> tuple[float, float]:
        """Integral of the known part and known seconds, by differences of running sums: O(log n)."""
        lower, upper = self._running(first_s), self._running(last_s)
        return upper[0] - lower[0], upper[1] - lower[1]

    def _running(self, seconds: float) -> tuple[float, float]:
        turns = 0.0
        if self.repeat:
            turns = float(np.floor((seconds - self.start_s) / self.period_s))
            seconds -= turns * self.period_s
        total = float(np.interp(seconds, self._edges_s, self._sums))
        known_s = float(np.interp(seconds, self._edges_s, self._known_s))
        return total + turns * float(self._sums[-1]), known_s + turns * float(self._known_s[-1])


def constant(name: str, unit: Unit, value: float, *, kind: Kind = "average", scope: Scope = "none") -> Series:
    """A declared figure that holds always; NaN for one that is unknown."""
    return Series(name, unit, np.array([0.0]), np.array([value]), DAY_S, kind=kind, scope=scope, repeat=True)
