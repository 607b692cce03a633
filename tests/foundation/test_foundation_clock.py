"""The system's clocks: of the right kind, and going forward."""

from __future__ import annotations

import re
import time
from datetime import timedelta

from heliotrope.foundation import clock
from heliotrope.foundation.clock import Clock, SystemClock


def test_durations_never_go_back() -> None:
    ours: Clock = SystemClock()
    readings_s = [ours.monotonic_s() for _ in range(1000)]
    assert readings_s == sorted(readings_s)
    assert readings_s[0] <= time.monotonic()


def test_the_lease_clock_counts_suspended_time() -> None:
    """CLOCK_BOOTTIME is the monotonic clock plus time in suspend: it can only be ahead."""
    ours = SystemClock()
    before_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    reading_s = ours.boottime_s()
    assert before_s <= reading_s <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_points_in_time_carry_their_zone() -> None:
    assert SystemClock().utc().utcoffset() == timedelta(0)


def test_the_boot_has_one_id() -> None:
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", clock.boot_id())
    assert clock.boot_id() == clock.boot_id()
