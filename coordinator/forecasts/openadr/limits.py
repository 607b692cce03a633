"""What a site may draw, when, and who says so: a series of power limits for the planner to read.

Pure. Within one program and signal the event of the highest priority counts (in OpenADR 3 the lowest number); between
them the lowest limit, an emergency first where two are equal. A limit is about the site's meter, so PUE is in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import pairwise

import msgspec

NO_PRIORITY = 1_000_000  # an event without a priority comes last


class LimitKind(StrEnum):
    """Which signal the limit is from; the order of the planner's precedence is emergency first."""

    EMERGENCY = "emergency"
    CAPACITY = "capacity"
    SETPOINT = "setpoint"
    LEVEL = "level"


_RANKS = {kind: rank for rank, kind in enumerate(LimitKind)}


class PowerLimit(msgspec.Struct, frozen=True):
    """At most ``limit_w`` at the site's meter over [start_s, end_s) [Unix s]; ``end_s`` None: until further notice."""

    start_s: float
    end_s: float | None
    limit_w: float
    kind: LimitKind
    program: str = ""
    event: str = ""
    priority: int = NO_PRIORITY

    def holds(self, at_s: float) -> bool:
        return self.start_s <= at_s and (self.end_s is None or at_s < self.end_s)


class PriceSignal(msgspec.Struct, frozen=True):
    """``price_per_mwh`` over [start_s, end_s) [Unix s], in the program's currency."""

    start_s: float
    end_s: float | None
    price_per_mwh: float
    program: str = ""
    event: str = ""
    priority: int = NO_PRIORITY
    currency: str = ""


class LimitSpan(msgspec.Struct, frozen=True):
    """A stretch [start_s, end_s) with one binding limit, or none."""

    start_s: float
    end_s: float
    limit: PowerLimit | None


class LimitSeries:
    """The limits of one site over time."""

    def __init__(self, limits: Iterable[PowerLimit] = ()) -> None:
        self.limits: tuple[PowerLimit, ...] = tuple(sorted(limits, key=lambda one: (one.start_s, one.limit_w)))

    def binding(self, at_s: float) -> PowerLimit | None:
        """The limit that counts at a moment; None: no limit."""
        held = [one for one in self.limits if one.holds(at_s)]
        highest: dict[tuple[str, LimitKind], int] = {}
        for one in held:
            group = (one.program, one.kind)
            highest[group] = min(highest.get(group, one.priority), one.priority)
        counting = [one for one in held if one.priority == highest[(one.program, one.kind)]]
        return min(counting, key=lambda one: (one.limit_w, _RANKS[one.kind]), default=None)

    def limit_w(self, at_s: float) -> float:
        """What the meter may show at a moment [W]; infinite without a limit."""
        found = self.binding(at_s)
        return math.inf if found is None else found.limit_w

    def spans(self, start_s: float, end_s: float) -> list[LimitSpan]:
        """[start_s, end_s) cut where the binding limit changes; without a hole and without equal neighbours."""
        edges = {start_s, end_s}
        for one in self.limits:
            edges |= {edge for edge in (one.start_s, one.end_s) if edge is not None and start_s < edge < end_s}
        ordered = sorted(edges)
        spans: list[LimitSpan] = []
        for first_s, last_s in pairwise(ordered):
            found = self.binding(first_s)
            if spans and spans[-1].limit == found:
                spans[-1] = LimitSpan(spans[-1].start_s, last_s, found)
            else:
                spans.append(LimitSpan(first_s, last_s, found))
        return spans

    def lowest_w(self, start_s: float, end_s: float) -> float:
        """The least that may be drawn at some moment of [start_s, end_s) [W]; infinite without a limit."""
        return min((span.limit.limit_w for span in self.spans(start_s, end_s) if span.limit), default=math.inf)


def price_steps(signals: Sequence[PriceSignal], until_s: float) -> list[tuple[float, float | None]]:
    """(from [Unix s], price per MWh) in order, None where nothing is said; an open end goes to ``until_s``.

    Where two events overlap the higher priority counts, then the one that starts later.
    """
    edges = sorted({edge for one in signals for edge in (one.start_s, _end(one, until_s)) if edge <= until_s})
    steps: list[tuple[float, float | None]] = []
    for edge in edges:
        held = [one for one in signals if one.start_s <= edge < _end(one, until_s)]
        best = min(held, key=lambda one: (one.priority, -one.start_s), default=None)
        steps.append((edge, None if best is None else best.price_per_mwh))
    return steps


def _end(signal: PriceSignal, until_s: float) -> float:
    return until_s if signal.end_s is None else signal.end_s
