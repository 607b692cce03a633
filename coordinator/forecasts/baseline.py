"""A forecast for a quantity nobody forecasts: the usual day, and how today differs from it, fading out.

Seasonal-naive (the mean of the same time of day over the past week) plus persistence of the present anomaly, which
decays exponentially with the lead time: at lead 0 it is plain persistence, far ahead the usual day. Both ends are
textbook baselines (Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., 5.2). The decay is ours,
its time constant chosen on public hours (docs/forecasts.md has the figures).
"""

from __future__ import annotations

import numpy as np

from .series import DAY_S, Floats

FADE_S = 30 * 3600.0
DAYS = 7


def predict(times_s: Floats, values: Floats, ahead_s: Floats, *, fade_s: float = FADE_S, days: int = DAYS) -> Floats:
    """Values at ``ahead_s`` (m,) from a past of ``times_s`` (n,) [Unix s, rising, evenly spaced] and ``values`` (n,).

    NaN in the past is unknown and is left out. Everything after the last known value is ahead of it. NaN where neither
    a past day nor a present value says anything.
    """
    known = np.flatnonzero(~np.isnan(values))
    if known.size == 0:
        return np.full(ahead_s.shape, np.nan)
    last = int(known[-1])
    last_s, last_value = float(times_s[last]), float(values[last])
    usual = usual_day(times_s, values, np.append(ahead_s, last_s), last_s, days=days)
    lead_s = np.maximum(ahead_s - last_s, 0.0)
    anomaly = last_value - usual[-1]
    if np.isnan(anomaly):  # less than a day is known: persistence
        return np.full(ahead_s.shape, last_value)
    result: Floats = np.where(np.isnan(usual[:-1]), last_value, usual[:-1] + anomaly * np.exp(-lead_s / fade_s))
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return np.clip(result, low, high)


def usual_day(times_s: Floats, values: Floats, asked_s: Floats, last_s: float, *, days: int = DAYS) -> Floats:
    """Mean of the values at the same time of day on the last ``days`` days before each asked time; NaN if unknown."""
    back = np.ceil(np.maximum(asked_s - last_s, 0.0) / DAY_S)
    first = np.maximum(back, 1.0)  # never the present value itself, which is what the anomaly is measured from
    shifted = asked_s[:, None] - (first[:, None] + np.arange(days)) * DAY_S
    index = np.searchsorted(times_s, shifted, side="right") - 1
    found = np.where((index >= 0) & (shifted <= last_s), values[np.clip(index, 0, None)], np.nan)
    count = np.sum(~np.isnan(found), axis=1)
    total = np.nansum(found, axis=1)
    result: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return result
