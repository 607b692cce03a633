"""The clock between a trace and real life.

A demo runs a day of sun in two minutes. Only *trace* time is scaled: transfers, training and energy are real. So a
window's length is turned into real seconds here, before it enters any inequality.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from heliotrope.foundation.errors import InvalidInput

from .series import unix_s


@dataclass(frozen=True)
class TraceClock:
    """Maps real UTC to trace UTC: ``start_real_utc`` is ``start_trace_utc``, then ``scale`` trace seconds per real one.

    ``scale`` 1 with equal starts is real life. Raises InvalidInput for a scale that is not positive and finite and for
    a time without zone.
    """

    start_trace_utc: datetime
    start_real_utc: datetime
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise InvalidInput(f"field scale: {self.scale} is not a positive number; use trace seconds per real second")
        unix_s(self.start_trace_utc)
        unix_s(self.start_real_utc)

    def trace(self, real_utc: datetime) -> datetime:
        """The trace's time at a real moment."""
        return self.start_trace_utc + timedelta(seconds=(unix_s(real_utc) - unix_s(self.start_real_utc)) * self.scale)

    def real(self, trace_utc: datetime) -> datetime:
        """The real moment at which the trace shows ``trace_utc``."""
        return self.start_real_utc + timedelta(seconds=(unix_s(trace_utc) - unix_s(self.start_trace_utc)) / self.scale)

    def real_s(self, trace_duration_s: float) -> float:
        """How long a stretch of trace lasts in real seconds."""
        return trace_duration_s / self.scale

    def trace_s(self, real_duration_s: float) -> float:
        """How much trace passes in real seconds."""
        return real_duration_s * self.scale


def live(now: datetime) -> TraceClock:
    """Real life: trace time is real time."""
    return TraceClock(now, now, 1.0)
