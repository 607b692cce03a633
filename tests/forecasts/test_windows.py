"""Windows by explicit rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliotrope.coordinator.forecasts.series import Series, Unit
from heliotrope.coordinator.forecasts.windows import RuleName, Window, WindowRule, find
from heliotrope.foundation.errors import InvalidInput

START = datetime(2023, 5, 1, tzinfo=UTC)
NAN = float("nan")


def hourly(values: list[float], unit: Unit = "g_per_kwh", *, repeat: bool = False) -> Series:
    times_s = START.timestamp() + 3600.0 * np.arange(len(values), dtype=np.float64)
    return Series("test", unit, times_s, np.array(values), float(times_s[-1]) + 3600.0, repeat=repeat)


def after(hours: float) -> datetime:
    return START + timedelta(hours=hours)


BELOW_100 = WindowRule(rule="intensity_below", threshold=100.0)


def test_windows_by_hand() -> None:
    windows = find(hourly([150, 50, 60, 150, NAN, 50]), BELOW_100)
    assert windows.count == 2
    assert windows.window_at(after(0.5)) is None
    assert windows.window_at(after(1)) == Window(after(1), after(3))
    assert windows.remaining_s(after(2.5)) == 1800.0
    assert windows.remaining_s(after(3)) == 0.0
    assert windows.next_window(after(1)) == Window(after(5), after(6))
    assert windows.next_window(after(5)) is None
    assert windows.window_at(after(6)) is None
    assert windows.length_quantile_s(0.05) == 3600.0
    assert windows.length_quantile_s(1.0) == 7200.0
    assert windows.between(after(2), after(5.5)) == [Window(after(2), after(3)), Window(after(5), after(5.5))]


def test_a_repeating_window_is_joined_over_the_seam() -> None:
    windows = find(hourly([50, 150, 150, 60], repeat=True), BELOW_100)
    assert windows.count == 1
    assert windows.window_at(after(0)) == Window(after(-1), after(1))
    assert windows.remaining_s(after(7.5)) == 1.5 * 3600
    assert windows.next_window(after(0.5)) == Window(after(3), after(5))
    assert windows.between(after(0), after(8)) == [
        Window(after(0), after(1)),
        Window(after(3), after(5)),
        Window(after(7), after(8)),
    ]


def test_always_and_never() -> None:
    always = find(hourly([50, 50], repeat=True), BELOW_100)
    assert always.remaining_s(after(17.3)) == pytest.approx(7200.0)
    assert always.next_window(after(1)) is None
    assert always.between(after(0), after(100)) == [Window(after(0), after(100))]
    never = find(hourly([150, NAN], repeat=True), BELOW_100)
    assert never.window_at(after(0)) is None
    assert never.next_window(after(0)) is None
    assert never.length_quantile_s(0.5) is None
    assert never.between(after(0), after(9)) == []


@pytest.mark.parametrize(
    ("rule", "unit", "threshold", "expected"),
    [
        ("surplus", "w", 0.0, [False, False, True]),
        ("intensity_below", "g_per_kwh", 0.0, [True, False, False]),
        ("renewable_above", "ratio", 0.0, [False, False, True]),
        ("price_below", "price_per_mwh", 0.0, [True, True, False]),
    ],
)
def test_each_rule_at_its_threshold(rule: RuleName, unit: Unit, threshold: float, expected: list[bool]) -> None:
    windows = find(hourly([-1.0, 0.0, 1.0], unit), WindowRule(rule=rule, threshold=threshold))
    assert [windows.window_at(after(k)) is not None for k in range(3)] == expected


def test_short_windows_are_dropped() -> None:
    rule = WindowRule(rule="intensity_below", threshold=100.0, shortest_s=7200.0)
    windows = find(hourly([50, 150, 50, 50]), rule)
    assert windows.window_at(after(0)) is None
    assert windows.window_at(after(2)) == Window(after(2), after(4))


def test_a_rule_needs_its_unit() -> None:
    with pytest.raises(InvalidInput, match="price_below needs a series in price_per_mwh"):
        find(hourly([1.0]), WindowRule(rule="price_below"))


@given(
    greens=st.lists(st.sampled_from([50.0, 150.0, NAN]), min_size=1, max_size=10),
    repeat=st.booleans(),
    hours=st.floats(-25, 25),
)
@settings(deadline=None)
def test_a_window_is_open_exactly_where_the_rule_holds(greens: list[float], repeat: bool, hours: float) -> None:
    series = hourly(greens, repeat=repeat)
    windows = find(series, BELOW_100)
    moment = after(hours)
    window = windows.window_at(moment)
    assert (window is not None) == bool(series.at(moment) < 100.0)
    following = windows.next_window(moment)
    if following is not None:
        assert following.start_utc > moment
        assert series.at(following.start_utc + timedelta(seconds=1)) < 100.0
        before = windows.window_at(following.start_utc - timedelta(seconds=1))
        assert before is None or before.end_utc < following.start_utc
