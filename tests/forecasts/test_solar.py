"""The sun against published values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliotrope.coordinator.forecasts import solar

# Worked example of NREL's Solar Position Algorithm (Reda and Andreas, NREL/TP-560-34302, 2008, appendix A.5): Golden,
# Colorado, 17 October 2003, UTC-7. Its zenith includes refraction of about 0.02 degrees.
GOLDEN = (39.742476, -105.1786)
MOUNTAIN = timezone(timedelta(hours=-7))


def seconds(*moments: datetime) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([moment.timestamp() for moment in moments])


def test_elevation_of_nrels_example() -> None:
    at = seconds(datetime(2003, 10, 17, 12, 30, 30, tzinfo=MOUNTAIN))
    assert solar.elevation_deg(*GOLDEN, at)[0] == pytest.approx(90.0 - 50.11162, abs=0.03)


def test_sunrise_and_sunset_of_nrels_example() -> None:
    rise = datetime(2003, 10, 17, 6, 12, 43, tzinfo=MOUNTAIN)
    # The algorithm gives the sunset of the UT day, which here is that of the local day before.
    fall = datetime(2003, 10, 16, 17, 20, 19, tzinfo=MOUNTAIN)
    # The disc's upper edge touches the horizon at -0.8333 degrees, refraction included.
    np.testing.assert_allclose(solar.elevation_deg(*GOLDEN, seconds(rise, fall)), -0.8333, atol=0.03)


def test_declination_at_solstices_and_equinoxes_of_2023() -> None:
    # Instants of the 2023 seasons (US Naval Observatory): 20 Mar 21:24, 21 Jun 14:58, 23 Sep 06:50, 22 Dec 03:27 UTC.
    at = seconds(
        datetime(2023, 3, 20, 21, 24, tzinfo=UTC),
        datetime(2023, 6, 21, 14, 58, tzinfo=UTC),
        datetime(2023, 9, 23, 6, 50, tzinfo=UTC),
        datetime(2023, 12, 22, 3, 27, tzinfo=UTC),
    )
    np.testing.assert_allclose(np.degrees(solar.sun_angles(at).declination_rad), [0.0, 23.44, 0.0, -23.44], atol=0.02)


def test_equation_of_time_extremes() -> None:
    # Its well-known extremes: about -14.2 min around 11 February, +16.4 min around 3 November (4 min to the degree).
    at = seconds(datetime(2023, 2, 11, 12, tzinfo=UTC), datetime(2023, 11, 3, 12, tzinfo=UTC))
    np.testing.assert_allclose(solar.sun_angles(at).equation_of_time_deg * 4, [-14.2, 16.4], atol=0.1)


def test_clear_sky_is_haurwitz() -> None:
    # 1098 x 0.5 x exp(-0.059 / 0.5) = 487.9 W/m2 at 30 degrees; nothing at and under the horizon.
    np.testing.assert_allclose(solar.clear_sky_w_per_m2(np.array([0.5, 0.0, -0.3])), [487.9, 0.0, 0.0], atol=0.1)


def test_polar_night_and_day() -> None:
    day_s = 300.0 * np.arange(288, dtype=np.float64)
    tromso = (69.65, 18.96)
    winter = solar.elevation_deg(*tromso, datetime(2023, 12, 21, tzinfo=UTC).timestamp() + day_s)
    summer = solar.elevation_deg(*tromso, datetime(2023, 6, 21, tzinfo=UTC).timestamp() + day_s)
    assert winter.max() < 0 < summer.min()


@given(
    latitude=st.floats(-90, 90),
    longitude=st.floats(-180, 180),
    stamp=st.floats(0, 4e9),
)
@settings(deadline=None)
def test_ranges_hold_everywhere(latitude: float, longitude: float, stamp: float) -> None:
    sine = solar.sin_elevation(latitude, longitude, np.array([stamp]))
    assert abs(sine[0]) <= 1 + 1e-12
    assert 0.0 <= solar.output_ratio(sine)[0] <= 1.0
    # The antipode sees the sun as deep below the horizon as we see it above.
    opposite = solar.sin_elevation(-latitude, longitude + 180.0, np.array([stamp]))
    assert opposite[0] == pytest.approx(-sine[0], abs=1e-9)


def test_generation_repeats_by_the_year_and_peaks_at_solar_noon() -> None:
    series = solar.generation("x", 0.0, 30.0, 5000.0, datetime(2023, 3, 20, tzinfo=UTC))
    noon = datetime(2023, 3, 20, 10, 7, tzinfo=UTC)  # 30 degrees east: two hours before UTC; the sun is 7 min late
    day = [datetime(2023, 3, 20, tzinfo=UTC) + timedelta(minutes=5 * k) for k in range(288)]
    best = max(day, key=series.at)
    assert abs((best - noon).total_seconds()) <= 600
    assert series.at(best) == pytest.approx(5000.0 * 1.098 * np.exp(-0.059) * 0.86, rel=1e-3)
    assert series.at(noon + timedelta(days=365)) == series.at(noon)
    assert series.at(noon + timedelta(hours=12)) == 0.0
