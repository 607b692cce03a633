"""What services answer, cleaned: samples in our units, in order, one per time, and a mark for all that was wrong.

A faulty value becomes unknown and leaves a mark; only what makes the whole answer doubtful (a unit, a zone, times
without offset, mostly absurd values) refuses it. Nothing is invented: no interpolation, no clipping.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import numpy as np

from ..csvtrace import Range
from ..series import Kind, Scope, Series, utc_at
from . import trouble
from .trouble import Trouble

SAMPLES_LIMIT = 50_000
DOUBTFUL_RATIO = 0.2  # more values than this out of range: the answer is in another unit, or broken
LEVEL_FACTOR = 20.0  # medians further apart than this: no grid does that within days, g for kg does


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """A value from ``time_s`` [Unix s] on; None is unknown. ``estimated``: the service says it was not measured."""

    time_s: float
    value: float | None
    estimated: bool = False


@dataclass(frozen=True)
class Answer:
    """One fetch: what was observed, what is forecast, when the service issued it [Unix s] (None: it does not say)."""

    observed: tuple[Sample, ...]
    forecast: tuple[Sample, ...]
    issued_s: float | None
    kind: Kind
    scope: Scope
    marks: tuple[str, ...] = ()


class Tidy:
    """Brings raw samples in order and counts what was wrong with them."""

    def __init__(self, name: str, limits: Range) -> None:
        self._name = name
        self._limits = limits
        self._counts: Counter[str] = Counter()
        self._firsts: dict[str, str] = {}

    @property
    def marks(self) -> tuple[str, ...]:
        """One line per kind of fault, with the first example."""
        return tuple(f"{count} {what} (first: {self._firsts[what]})" for what, count in sorted(self._counts.items()))

    def samples(self, raw: Iterable[Sample]) -> tuple[Sample, ...]:
        """In our unit, rising in time. Raises Trouble where too much of it is out of range, or there is too much."""
        found = list(raw)
        if len(found) > SAMPLES_LIMIT:
            raise Trouble(trouble.Kind.MALFORMED, f"{self._name}: {len(found)} values, more than {SAMPLES_LIMIT}")
        checked = [self._checked(sample) for sample in found]
        if any(later.time_s < earlier.time_s for earlier, later in pairwise(checked)):
            self._mark("series out of order", utc_at(checked[0].time_s).isoformat())
        given = sum(sample.value is not None for sample in found)
        kept = sum(sample.value is not None for sample in checked)
        if given and (given - kept) / given > DOUBTFUL_RATIO:
            raise Trouble(
                trouble.Kind.IMPLAUSIBLE,
                f"{self._name}: {given - kept} of {given} values are outside {self._limits.lowest:g} .. "
                f"{self._limits.highest:g} ({'; '.join(self.marks)}); check the unit and the zone",
            )
        return tuple(self._merged(sorted(checked, key=lambda sample: sample.time_s)))

    def _checked(self, sample: Sample) -> Sample:
        value = sample.value
        if value is None:
            self._mark("unknown values", utc_at(sample.time_s).isoformat())
            return sample
        if not math.isfinite(value) or not self._limits.lowest <= value <= self._limits.highest:
            what = "negative values" if value < 0 <= self._limits.lowest else "absurd values"
            self._mark(what, f"{value:g} at {utc_at(sample.time_s).isoformat()}")
            return Sample(sample.time_s, None, sample.estimated)
        return Sample(sample.time_s, value * self._limits.factor, sample.estimated)

    def _merged(self, ordered: Sequence[Sample]) -> list[Sample]:
        """One sample per time; two that differ at one time say nothing."""
        merged: list[Sample] = []
        for sample in ordered:
            if not merged or sample.time_s > merged[-1].time_s:
                merged.append(sample)
                continue
            when = utc_at(sample.time_s).isoformat()
            if sample.value == merged[-1].value:
                self._mark("repeated times", when)
            else:
                self._mark("repeated times with different values", when)
                merged[-1] = Sample(sample.time_s, None, sample.estimated)
        return merged

    def _mark(self, what: str, example: str) -> None:
        self._counts[what] += 1
        self._firsts.setdefault(what, example)


def step_s(samples: Sequence[Sample]) -> float:
    """The most frequent distance [s] between samples; an hour where there are not two."""
    if len(samples) < 2:
        return 3600.0
    distances, counts = np.unique(np.diff([sample.time_s for sample in samples]), return_counts=True)
    return float(distances[np.argmax(counts)])


def gaps(samples: Sequence[Sample]) -> list[tuple[float, float]]:
    """Spans [s, s) of missing samples, between the first and the last one."""
    usual_s = step_s(samples)
    return [(a.time_s + usual_s, b.time_s) for a, b in pairwise(samples) if b.time_s - a.time_s > usual_s * 1.001]


def gap_marks(samples: Sequence[Sample]) -> tuple[str, ...]:
    """A mark for the gaps; empty if there are none."""
    found = gaps(samples)
    if not found:
        return ()
    missing_s = sum(end_s - start_s for start_s, end_s in found)
    return (f"{len(found)} gaps, {missing_s / 3600:g} h in all (first: {utc_at(found[0][0]).isoformat()})",)


def merge(older: Sequence[Sample], newer: Sequence[Sample], keep_from_s: float) -> tuple[Sample, ...]:
    """Both, the newer one's word where they overlap, without what lies before ``keep_from_s``.

    A newer unknown does not undo what was known.
    """
    found = {sample.time_s: sample for sample in older}
    for sample in newer:
        if sample.value is not None or sample.time_s not in found:
            found[sample.time_s] = sample
    return tuple(found[key] for key in sorted(found) if key >= keep_from_s)


def check_level(name: str, older: Sequence[Sample], newer: Sequence[Sample]) -> None:
    """Raises Trouble where the new answer's level is far from what was observed of late: a unit that changed.

    Only for quantities that do not rest near zero. A week's history is needed on neither side; six values are.
    """
    before = [sample.value for sample in older if sample.value is not None]
    after = [sample.value for sample in newer if sample.value is not None]
    if len(before) < 6 or len(after) < 6:
        return
    old, new = float(np.median(before)), float(np.median(after))
    if min(old, new) > 0 and max(old / new, new / old) > LEVEL_FACTOR:
        raise Trouble(
            trouble.Kind.UNIT,
            f"{name}: the new values' median is {new:g} where {old:g} was observed of late; has the unit changed?",
        )


def series(
    name: str,
    limits: Range,
    observed: Sequence[Sample],
    forecast: Sequence[Sample],
    *,
    kind: Kind,
    scope: Scope,
) -> Series:
    """The past as observed, then the forecast, as one step function; gaps and faulty values are unknown in it."""
    border_s = observed[-1].time_s if observed else -math.inf
    ahead = [sample for sample in forecast if sample.time_s > border_s]
    if not observed and not ahead:
        return Series(name, limits.unit, np.array([0.0]), np.array([np.nan]), 1.0, kind=kind, scope=scope)
    points = [*_filled(observed), *_filled(ahead)]
    times_s, values = np.array([time_s for time_s, _ in points]), np.array([value for _, value in points])
    end_s = float(times_s[-1]) + step_s(ahead or observed)
    if observed and ahead and ahead[0].time_s > border_s + step_s(observed):
        # Between the last observation and a forecast that begins late nothing is known.
        place = int(np.searchsorted(times_s, ahead[0].time_s))
        times_s, values = np.insert(times_s, place, border_s + step_s(observed)), np.insert(values, place, np.nan)
    return Series(name, limits.unit, times_s, values, end_s, kind=kind, scope=scope)


def _filled(samples: Sequence[Sample]) -> list[tuple[float, float]]:
    """(time, value) with an unknown one at the start of each gap."""
    found = [(sample.time_s, math.nan if sample.value is None else sample.value) for sample in samples]
    return sorted([*found, *((start_s, math.nan) for start_s, _ in gaps(samples))])
