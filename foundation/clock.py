"""Clocks, passed in wherever time matters so that tests never sleep.

Three different questions, three clocks: durations are measured on CLOCK_MONOTONIC; leases are counted on
CLOCK_BOOTTIME, which goes on in suspend (a lease on the monotonic clock would outlive its holder's sleep);
points in time are UTC with a zone.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """What the daemons ask of time; :class:`SystemClock` in production, a hand-driven one in tests."""

    def monotonic_s(self) -> float: ...

    def boottime_s(self) -> float: ...

    def utc(self) -> datetime: ...


class SystemClock:
    """The machine's clocks."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def boottime_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def utc(self) -> datetime:
        return datetime.now(UTC)


@cache
def boot_id() -> str:
    """The kernel's random id of this boot: with pid and start time it names a process for good."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
