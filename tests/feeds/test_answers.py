"""Cleaning and joining of samples, and what any bytes at all do to the parsers."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.coordinator.forecasts.csvtrace import RANGES
from heliotrope.coordinator.forecasts.live import (
    answers,
    budget,
    electricitymaps,
    entsoe,
    prometheus,
    times,
    ukcarbon,
    watttime,
)
from heliotrope.coordinator.forecasts.live.answers import Sample, Tidy
from heliotrope.coordinator.forecasts.live.budget import Spent
from heliotrope.coordinator.forecasts.live.trouble import Trouble
from heliotrope.coordinator.forecasts.openadr import events
from heliotrope.coordinator.forecasts.openadr.config import DemandResponse

GRAMS = RANGES["g_per_kwh"]
HOUR_S = 3600.0

numbers = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(10**6), 10**6).map(float)
samples = st.lists(
    st.builds(Sample, st.integers(0, 60).map(lambda hour: 1.7e9 + hour * HOUR_S), st.none() | numbers, st.booleans()),
    max_size=40,
)


@given(samples)
def test_tidied_samples_rise_in_time_and_are_plausible(raw: list[Sample]) -> None:
    with contextlib.suppress(Trouble):
        tidy = Tidy("x", GRAMS)
        found = tidy.samples(raw)
        assert all(later.time_s > earlier.time_s for earlier, later in pairwise(found))
        assert {one.time_s for one in found} == {one.time_s for one in raw}
        assert all(one.value is None or 0 <= one.value <= 3000 for one in found)
        lost = len([one for one in raw if one.value is None]) + len(raw) - len(found)
        assert not lost or tidy.marks


@given(samples, samples)
def test_a_series_holds_each_value_for_its_step_and_invents_none(past: list[Sample], ahead: list[Sample]) -> None:
    observed, forecast = _clean(past), _clean(ahead)
    found = answers.series("x", GRAMS, observed, forecast, kind="average", scope="direct")
    given = {one.time_s: one.value for one in forecast} | {one.time_s: one.value for one in observed}
    border_s = observed[-1].time_s if observed else -math.inf
    for time_s, value in given.items():
        if time_s <= border_s and time_s not in {one.time_s for one in observed}:
            continue
        shown = float(found.at_s(np.array(time_s)))
        assert (math.isnan(shown) and value is None) or shown == value
    values = {value for value in given.values() if value is not None}
    moments = np.array([1.7e9 + 900.0 * step for step in range(281)])
    inside = found.at_s(moments)
    assert set(inside[~np.isnan(inside)].tolist()) <= values


def test_nothing_is_known_between_the_past_and_a_forecast_that_begins_late() -> None:
    observed = [Sample(hour * HOUR_S, 1.0) for hour in range(5)]
    forecast = [Sample(hour * HOUR_S, 2.0) for hour in range(8, 12)]
    found = answers.series("x", GRAMS, observed, forecast, kind="average", scope="direct")
    shown = found.at_s(np.array([hour * HOUR_S + 1800 for hour in range(12)]))
    assert shown[:5].tolist() == [1.0] * 5 and np.isnan(shown[5:8]).all() and shown[8:].tolist() == [2.0] * 4


def _clean(raw: list[Sample]) -> list[Sample]:
    return sorted(
        {
            one.time_s: Sample(one.time_s, one.value if one.value and abs(one.value) < 1e9 else None) for one in raw
        }.values(),
        key=lambda one: one.time_s,
    )


@given(samples, samples, st.integers(0, 60))
def test_merging_forgets_no_known_value_and_nothing_new(older: list[Sample], newer: list[Sample], hour: int) -> None:
    keep_s = 1.7e9 + hour * HOUR_S
    merged = {one.time_s: one for one in answers.merge(_clean(older), _clean(newer), keep_s)}
    for one in _clean(newer):
        if one.time_s >= keep_s and one.value is not None:
            assert merged[one.time_s] == one
    for one in _clean(older):
        if one.time_s >= keep_s and one.value is not None:
            assert merged[one.time_s].value is not None
    assert all(time_s >= keep_s for time_s in merged)


stamps = st.one_of(
    st.datetimes(datetime(1990, 1, 1), datetime(2250, 1, 1)).map(lambda moment: moment.isoformat() + "Z"),
    st.sampled_from(["2026-03-01T00:00", "2026-03-01T00:00Z", "2026-03-01T00:00:00+05:30", "0000-00-00", "", "now"]),
    st.text(max_size=20),
)
leaves = st.one_of(st.none(), st.booleans(), numbers, st.integers(), stamps, st.sampled_from(["lbs_co2_per_mwh", "DE"]))
names = st.sampled_from(
    [
        "data",
        "history",
        "forecast",
        "zone",
        "datetime",
        "carbonIntensity",
        "point_time",
        "value",
        "meta",
        "units",
        "from",
        "intensity",
        "actual",
        "status",
        "result",
        "values",
        "resultType",
        "regionid",
        "generationmix",
        "fuel",
        "perc",
        "programID",
        "intervals",
        "payloads",
        "type",
        "intervalPeriod",
        "start",
        "duration",
        "priority",
        "targets",
        "payloadDescriptors",
        "isEstimated",
        "powerConsumptionBreakdown",
    ]
)
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5), max_leaves=20
)


def _maps(body: bytes) -> None:
    page = electricitymaps.parse(body, "DE")
    for field in ("intensity", "renewable"):
        Tidy("x", GRAMS).samples(electricitymaps._samples(page.history, field, "direct"))


def _watttime(body: bytes) -> None:
    Tidy("x", GRAMS).samples(watttime.samples(watttime.parse(body, "CAISO_NORTH")))


def _uk(body: bytes) -> None:
    for region_id in (0, 13):
        half_hours = ukcarbon.parse(body, region_id)
        Tidy("x", GRAMS).samples(ukcarbon.samples(half_hours, "intensity", measured=True))
        Tidy("x", GRAMS).samples(ukcarbon.samples(half_hours, "renewable", measured=False))


def _prometheus(body: bytes) -> None:
    Tidy("x", GRAMS).samples(prometheus.samples(prometheus.parse(body)))


def _openadr(body: bytes) -> None:
    config = DemandResponse(vtn_url="http://localhost", emergency_limit_w=1.0, simple_limits_w=(3.0, 2.0, 1.0))
    found = events.read(events.parse(body), config, 1.7e9)
    assert all(one.limit_w >= 0 and (one.end_s is None or one.end_s > one.start_s) for one in found.limits)


PARSERS = [_maps, _watttime, _uk, _prometheus, _openadr]


@pytest.mark.parametrize("parser", PARSERS)
@given(tree=trees, wrapped=st.booleans())
def test_any_json_is_read_or_refused_with_a_reason(
    parser: Callable[[bytes], None], tree: object, wrapped: bool
) -> None:
    body = json.dumps({"data": tree, "history": tree, "meta": {"units": "lbs_co2_per_mwh"}} if wrapped else tree)
    with contextlib.suppress(Trouble):
        parser(body.encode())


@pytest.mark.parametrize("parser", [*PARSERS, entsoe.parse])
@given(body=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(parser: Callable[[bytes], None], body: bytes) -> None:
    with contextlib.suppress(Trouble):
        parser(body)


def _document(points: str, resolution: str = "PT60M", unit: str = "MWH", end: str = "2026-03-01T04:00Z") -> bytes:
    return (
        f"<Publication_MarketDocument xmlns='urn:x'><TimeSeries><price_Measure_Unit.name>{unit}"
        f"</price_Measure_Unit.name><Period><timeInterval><start>2026-03-01T00:00Z</start><end>{end}</end>"
        f"</timeInterval><resolution>{resolution}</resolution>{points}</Period></TimeSeries></Publication_MarketDocument>"
    ).encode()


def _point(position: object, price: object) -> str:
    return f"<Point><position>{position}</position><price.amount>{price}</price.amount></Point>"


def test_missing_positions_repeat_the_price_before_them() -> None:
    found = entsoe.parse(_document(_point(1, 10.5) + _point(3, -4)))
    assert [one.value for one in found] == [10.5, 10.5, -4.0, -4.0]
    assert [one.time_s for one in found] == [datetime(2026, 3, 1, hour, tzinfo=UTC).timestamp() for hour in range(4)]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (_document(_point(9, 1)), "field position: 9 is not within 1 .. 4"),
        (_document(_point(1, "dear")), "field Point"),
        (_document(_point(1, 1), unit="KWH"), "field price_Measure_Unit.name: 'KWH'"),
        (_document(_point(1, 1), resolution="PT0S"), "field resolution"),
        (_document(_point(1, 1), end="2026-03-01T04:00"), "field end: .* has no time zone"),
        (b"<Acknowledgement_MarketDocument><Reason><text>No matching data found</text></Reason>"
         b"</Acknowledgement_MarketDocument>", "No matching data found; check domain"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "declares entities"),
        (b"{}", "is no XML"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_price_document(body: bytes, words: str) -> None:
    with pytest.raises(Trouble, match=words):
        entsoe.parse(body)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT1H", 3600),
        ("P0Y0M0DT1H0M0S", 3600),
        ("PT15M", 900),
        ("P1D", 86400),
        ("PT0.5S", 0.5),
        ("-PT1M", -60),
        ("P1W", 604800),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert times.duration_s(text, "duration") == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "1H", "PT1", "P1H", "PT1H ", "P1DT"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(Trouble, match="field duration"):
        times.duration_s(text, "duration")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        ("Sun, 01 Mar 2026 00:01:00 GMT", 60.0),
        ("Sun, 01 Mar 2020 00:01:00 GMT", 0.0),
        ("999999999", 86_400.0),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert times.retry_after_s(header, datetime(2026, 3, 1, tzinfo=UTC)) == seconds


@given(st.integers(1, 500), st.lists(st.floats(0, 7200), min_size=1, max_size=300))
def test_a_budget_is_never_overspent_whatever_the_hours(per_day: int, waits: list[float]) -> None:
    now_s, spent = 1.7e9, Spent()
    asked: dict[int, int] = {}
    for wait in waits:
        now_s += wait
        if budget.wait_s(spent, now_s, per_day) == 0.0:
            spent = budget.spend(spent, now_s)
            asked[spent.day] = asked.get(spent.day, 0) + 1
    assert max(asked.values(), default=0) <= per_day
    due_s = budget.wait_s(spent, now_s, per_day)
    assert budget.wait_s(spent, now_s + due_s + 1.0, per_day) == 0.0
