"""Where the sun stands and what a clear sky gives: windows for sites without a meter or a trace.

Geometry: the low-precision solar coordinates of the Astronomical Almanac, as the US Naval Observatory publishes them
("Computing Approximate Solar Coordinates"): within an arc minute for two centuries around 2000. Spencer's series
(1971), which NOAA's general equations use, were tried first and were 0.3 degrees off at the equinoxes of 2023.
Clear sky: Haurwitz (J. Meteorology 2:154, 1945) in the form given by Reno, Hansen and Stein (SAND2012-2389, 2012),
which needs the zenith angle only. Real clouds are not in it: a site with a meter should use its meter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from .series import DAY_S, Floats, Series, unix_s

# NREL PVWatts version 5 (TP-6A20-62641, 2014): default system losses 14.08 %.
SYSTEM_RATIO = 0.86
STANDARD_IRRADIANCE_W_PER_M2 = 1000.0  # at which a module gives its rated power
SERIES_STEP_S = 300.0
YEAR_DAYS = 365


J2000_S = 946728000.0  # 2000-01-01 12:00 UTC, Julian date 2451545.0; UTC stands for the Almanac's UT1 (within 1 s)


@dataclass(frozen=True)
class SunAngles:
    """Declination [rad] and equation of time (apparent minus mean solar time) [degrees of hour angle]."""

    declination_rad: Floats
    equation_of_time_deg: Floats


def sun_angles(seconds: Floats) -> SunAngles:
    """The sun's angles at Unix times of any shape."""
    days = (np.asarray(seconds, dtype=np.float64) - J2000_S) / DAY_S
    anomaly = np.radians(357.529 + 0.98560028 * days)
    mean_longitude_deg = 280.459 + 0.98564736 * days
    longitude = np.radians(mean_longitude_deg + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly))
    obliquity = np.radians(23.439 - 0.00000036 * days)
    right_ascension_deg = np.degrees(np.arctan2(np.cos(obliquity) * np.sin(longitude), np.cos(longitude)))
    difference_deg = np.mod(mean_longitude_deg - right_ascension_deg + 180.0, 360.0) - 180.0
    return SunAngles(np.arcsin(np.sin(obliquity) * np.sin(longitude)), difference_deg)


def sin_elevation(latitude: float, longitude: float, seconds: Floats) -> Floats:
    """Sine of the sun's true elevation; degrees, north and east positive; Unix times of any shape."""
    stamps = np.asarray(seconds, dtype=np.float64)
    sun = sun_angles(stamps)
    hour_angle = np.radians(np.mod(stamps, DAY_S) / DAY_S * 360.0 - 180.0 + longitude + sun.equation_of_time_deg)
    phi = np.radians(latitude)
    result: Floats = np.sin(phi) * np.sin(sun.declination_rad) + np.cos(phi) * np.cos(sun.declination_rad) * np.cos(
        hour_angle
    )
    return result


def elevation_deg(latitude: float, longitude: float, seconds: Floats) -> Floats:
    """The sun's true elevation above the horizon [degrees], without refraction; see :func:`sin_elevation`."""
    result: Floats = np.degrees(np.arcsin(np.clip(sin_elevation(latitude, longitude, seconds), -1.0, 1.0)))
    return result


def clear_sky_w_per_m2(sine: Floats) -> Floats:
    """Global horizontal irradiance under a clear sky [W/m2] (Haurwitz) from the sine of the elevation; 0 at night."""
    height = np.clip(np.asarray(sine, dtype=np.float64), 1e-6, None)
    result: Floats = np.where(np.asarray(sine) > 0.0, 1098.0 * height * np.exp(-0.059 / height), 0.0)
    return result


def output_ratio(sine: Floats, system_ratio: float = SYSTEM_RATIO) -> Floats:
    """Share of its rated power that a flat-lying array gives under a clear sky, 0..1."""
    result: Floats = np.clip(clear_sky_w_per_m2(sine) / STANDARD_IRRADIANCE_W_PER_M2 * system_ratio, 0.0, 1.0)
    return result


def generation(
    name: str,
    latitude: float,
    longitude: float,
    capacity_w: float,
    start: datetime,
    *,
    system_ratio: float = SYSTEM_RATIO,
) -> Series:
    """Clear-sky generation [W] of an array as a series of 5-minute means that repeats after 365 days.

    ``start`` says which year's sun to compute. Repeating shifts the season by a quarter of a day per year: at most 0.1
    degrees of declination, far below what clouds change.
    """
    first_s = unix_s(datetime(start.astimezone(UTC).year, 1, 1, tzinfo=UTC))
    times_s = first_s + np.arange(0.0, YEAR_DAYS * DAY_S, SERIES_STEP_S)
    sine = sin_elevation(latitude, longitude, times_s + SERIES_STEP_S / 2)
    power_w = capacity_w * output_ratio(sine, system_ratio)
    return Series(name, "w", times_s, power_w, first_s + YEAR_DAYS * DAY_S, repeat=True)
