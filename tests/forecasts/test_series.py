"""A series never invents a value, and its sums are exact."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliotrope.coordinator.forecasts.series import Series, constant, utc_at
from heliotrope.foundation.errors import InvalidInput

START = datetime(2023, 5, 1, tzinfo=UTC)
HOUR_S = 3600.0


def hourly(values: list[float], *, repeat: bool = False) -> Series:
    times_s = START.timestamp() + HOUR_S * np.arange(len(values), dtype=np.float64)
    end_s = float(times_s[-1]) + HOUR_S
    return Series("test", "g_per_kwh", times_s, np.array(values), end_s, scope="life-cycle", repeat=repeat)


def after(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def test_a_value_holds_until_the_next_and_nothing_is_known_outside() -> None:
    series = hourly([100.0, 200.0])
    assert series.at(START) == 100.0
    assert series.at(after(0.999)) == 100.0
    assert series.at(after(1)) == 200.0
    assert np.isnan(series.at(after(2)))
    assert np.isnan(series.at(after(-0.001)))


def test_mean_and_integral_by_hand() -> None:
    series = hourly([100.0, 200.0, 400.0])
    assert series.integral(after(0.5), after(2.5)) == pytest.approx((50 + 200 + 200) * HOUR_S)
    assert series.mean(after(0.5), after(2.5)) == pytest.approx(225.0)
    assert series.mean(after(1.2), after(1.2)) == 200.0


def test_unknown_stays_unknown() -> None:
    series = hourly([100.0, float("nan"), 300.0])
    assert np.isnan(series.at(after(1.5)))
    assert np.isnan(series.mean(after(0.5), after(1.5)))
    assert series.mean(after(2), after(3)) == 300.0
    assert np.isnan(series.integral(after(2), after(3.5)))
    assert series.coverage_ratio(after(0), after(3)) == pytest.approx(2 / 3)
    assert series.coverage_ratio(after(1.5), after(1.5)) == 0.0


def test_a_repeating_series_goes_on_in_both_directions() -> None:
    series = hourly([1.0, 2.0, 3.0], repeat=True)
    assert series.at(after(4)) == 2.0
    assert series.at(after(-1)) == 3.0
    assert series.mean(after(-3), after(6)) == pytest.approx(2.0)
    assert series.integral(after(2.5), after(3.5)) == pytest.approx((1.5 + 0.5) * HOUR_S)


@given(
    values=st.lists(st.one_of(st.floats(0, 1000), st.just(float("nan"))), min_size=1, max_size=12),
    cuts=st.lists(st.floats(-5, 30), min_size=3, max_size=3),
    repeat=st.booleans(),
)
@settings(deadline=None)
def test_integrals_add_up(values: list[float], cuts: list[float], repeat: bool) -> None:
    series = hourly(values, repeat=repeat)
    first, middle, last = (after(cut) for cut in sorted(cuts))
    left, right = series.integral(first, middle), series.integral(middle, last)
    whole = series.integral(first, last)
    if middle - first > timedelta(seconds=1) and last - middle > timedelta(seconds=1):
        assert np.isnan(whole) == (np.isnan(left) or np.isnan(right))
    if not np.isnan(left + right + whole):
        assert left + right == pytest.approx(whole, abs=1e-3 * 1000)


def test_irregular_times_are_weighted_by_time() -> None:
    start_s = START.timestamp()
    series = Series("irregular", "w", np.array([start_s, start_s + 60]), np.array([0.0, 100.0]), start_s + 100)
    assert series.mean(START, utc_at(start_s + 100)) == pytest.approx(40.0)


def test_bad_series_and_times_are_refused() -> None:
    with pytest.raises(InvalidInput, match="do not rise"):
        Series("x", "w", np.array([1.0, 1.0]), np.array([1.0, 2.0]), 3.0)
    with pytest.raises(InvalidInput, match="infinite"):
        Series("x", "w", np.array([1.0]), np.array([np.inf]), 3.0)
    with pytest.raises(InvalidInput, match="time zone"):
        constant("x", "w", 1.0).at(datetime(2023, 1, 1))
    with pytest.raises(InvalidInput, match="before the start"):
        constant("x", "w", 1.0).mean(after(1), after(0))


def test_the_arrays_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        hourly([1.0]).values[0] = 2.0
