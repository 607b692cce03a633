"""Only trace time is scaled, and it maps there and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliotrope.coordinator.forecasts.clock import TraceClock, live
from heliotrope.foundation.errors import InvalidInput

TRACE = datetime(2023, 6, 21, tzinfo=UTC)
REAL = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_day_in_two_minutes() -> None:
    clock = TraceClock(TRACE, REAL, 720.0)
    assert clock.trace(REAL + timedelta(seconds=120)) == TRACE + timedelta(days=1)
    assert clock.real(TRACE + timedelta(hours=6)) == REAL + timedelta(seconds=30)
    assert clock.real_s(3600.0) == 5.0
    assert clock.trace_s(5.0) == 3600.0


@given(seconds=st.floats(-1e7, 1e7), scale=st.floats(0.01, 1e5))
@settings(deadline=None)
def test_there_and_back(seconds: float, scale: float) -> None:
    clock = TraceClock(TRACE, REAL, scale)
    moment = REAL + timedelta(seconds=seconds / scale)
    assert abs((clock.real(clock.trace(moment)) - moment).total_seconds()) < 1e-3 + 1e-5 / scale


def test_live_is_real_life() -> None:
    moment = REAL + timedelta(hours=5)
    assert live(REAL).trace(moment) == moment


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_senseless_scale_is_refused(scale: float) -> None:
    with pytest.raises(InvalidInput, match="field scale"):
        TraceClock(TRACE, REAL, scale)


def test_a_start_without_zone_is_refused() -> None:
    with pytest.raises(InvalidInput, match="time zone"):
        TraceClock(datetime(2023, 6, 21), REAL)
