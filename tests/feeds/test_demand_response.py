"""OpenADR 3 events: read from a VTN over HTTP, turned into limits and prices, kept while the VTN is away."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.coordinator.forecasts.clock import live as real_time
from heliotrope.coordinator.forecasts.openadr import events
from heliotrope.coordinator.forecasts.openadr.config import DemandResponse
from heliotrope.coordinator.forecasts.openadr.limits import LimitKind, LimitSeries, PowerLimit
from heliotrope.coordinator.forecasts.site import open_site
from heliotrope.coordinator.forecasts.siteconfig import SiteConfig
from heliotrope.coordinator.forecasts.windows import WindowRule

from .conftest import NOW, Bench, step

NOW_S = NOW.timestamp()
HORSES = {"payloadType": "IMPORT_CAPACITY_LIMIT", "units": "HP"}


def event(kind: str, *values: object, **more: Any) -> dict[str, Any]:
    """One interval of an hour from now; ``more`` are fields of the event."""
    found = {
        "programID": "program-1",
        "eventName": kind.lower(),
        "intervalPeriod": {"start": NOW.isoformat(), "duration": "PT1H"},
        "intervals": [{"id": 0, "payloads": [{"type": kind, "values": list(values)}]}],
    }
    return {**found, **more}


def test_events_of_a_vtn_are_limits(bench: Bench) -> None:
    bench.events(
        event("IMPORT_CAPACITY_LIMIT", 20.0),
        event("DISPATCH_SETPOINT", 8000, payloadDescriptors=[{"payloadType": "DISPATCH_SETPOINT", "units": "W"}]),
        event("ALERT_GRID_EMERGENCY", "please", intervalPeriod={"start": "0000-00-00", "duration": "P0Y0M0DT0H10M0S"}),
        event("SIMPLE", 2, intervalPeriod={"start": (NOW + timedelta(hours=2)).isoformat(), "duration": "P9999Y"}),
        event("CHARGE_STATE_SETPOINT", 50),
    )
    task = bench.vtn(emergency_limit_w=3000.0, simple_limits_w=(15000.0, 10000.0))
    assert step(task) == 60.0
    (demand,) = bench.demands
    assert demand.failure == ""
    assert [one for one in demand.said.marks if "CHARGE_STATE_SETPOINT is not read" in one]
    series = demand.series
    found = series.binding(NOW_S + 60)
    assert found is not None and (found.limit_w, found.kind) == (3000.0, LimitKind.EMERGENCY)
    assert [series.limit_w(NOW_S + minutes * 60) for minutes in (11, 59, 61, 121, 999_999)] == [
        8000.0,
        8000.0,
        math.inf,
        10000.0,
        10000.0,
    ]
    assert bench.asked("auth/token") == 1
    bench.clock.turn(minutes=1)
    step(task)
    assert bench.asked("auth/token") == 1 and bench.asked("/events") == 2


def test_limits_hold_while_the_vtn_is_away_and_over_a_restart(bench: Bench) -> None:
    bench.events(event("IMPORT_CAPACITY_LIMIT", 20.0))
    step(bench.vtn())
    bench.order("500")
    again = bench.vtn()
    assert step(again) == 30.0
    assert "answered 500" in bench.demands[-1].failure
    assert bench.demands[-1].series.limit_w(NOW_S + 60) == 20_000.0
    config = SiteConfig(
        name="north",
        latitude=0,
        longitude=0,
        grid_intensity_g_per_kwh=1.0,
        window=WindowRule(rule="intensity_below", threshold=2.0),
        demand_response=again.config,
    )
    site = open_site(config, real_time(NOW)).with_demand(bench.demands[-1], NOW)
    assert site.limits.limit_w(NOW_S + 60) == 20_000.0
    assert site.limits.limit_w(NOW_S + 3601) == math.inf


def test_an_event_that_starts_now_ends_all_the_same(bench: Bench) -> None:
    """Without a date of its own it starts when it was first seen, not anew at every poll or start."""
    bench.events(event("IMPORT_CAPACITY_LIMIT", 20.0, intervalPeriod={"start": "0001-01-01", "duration": "PT1H"}))
    for _ in range(3):
        step(bench.vtn())
        bench.clock.turn(minutes=25)
    assert bench.demands[-1].said.limits[0].start_s == NOW_S
    step(bench.vtn())
    assert bench.demands[-1].failure == "" and bench.demands[-1].said.limits == ()


def test_all_pages_are_read_and_a_vtn_that_ignores_skip_is_named(bench: Bench) -> None:
    bench.events(*(event("IMPORT_CAPACITY_LIMIT", 500.0 - place, id=f"e{place}") for place in range(120)))
    step(bench.vtn())
    assert len(bench.demands[-1].said.limits) == 120
    bench.order("wrong-zone")
    step(bench.vtn())
    assert "gives the same page again" in bench.demands[-1].failure
    assert len(bench.demands[-1].said.limits) == 120


def test_a_wrong_client_secret(bench: Bench) -> None:
    (bench.folder / "key").write_text("wrong-one", encoding="ascii")
    step(bench.vtn())
    assert "answered 401" in bench.demands[0].failure and "wrong-one" not in bench.demands[0].failure


def test_price_events_are_the_sites_price(bench: Bench) -> None:
    hours = [{"id": k, "payloads": [{"type": "PRICE", "values": [price]}]} for k, price in enumerate((0.3, -0.02, 0.1))]
    bench.events(event("PRICE", intervals=hours))
    task = bench.vtn(use_price=True)
    step(task)
    config = SiteConfig(
        name="north",
        latitude=0,
        longitude=0,
        grid_intensity_g_per_kwh=1.0,
        demand_response=task.config,
        window=WindowRule(rule="price_below"),
    )
    site = open_site(config, real_time(NOW))
    assert site.next_window_in_s(NOW) is None
    site = site.with_demand(bench.demands[-1], NOW)
    assert site.next_window_in_s(NOW) == pytest.approx(3600.0)
    assert site.window_remaining_s(NOW + timedelta(minutes=90)) == pytest.approx(1800.0)
    prices = bench.demands[-1].prices(NOW_S)
    assert prices is not None and prices.at_s(NOW_S + np.array([0.0, 3600.0, 7200.0])).tolist() == [300.0, -20.0, 100.0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (event("IMPORT_CAPACITY_LIMIT", -5), "no limit of consumption"),
        (event("IMPORT_CAPACITY_LIMIT", "much"), "needs a number"),
        (event("IMPORT_CAPACITY_LIMIT"), "needs a number"),
        (event("IMPORT_CAPACITY_LIMIT", 5, payloadDescriptors=[HORSES]),
         "field payloadDescriptors.units: 'HP'"),
        (event("IMPORT_CAPACITY_LIMIT", 5, intervalPeriod=None), "field intervalPeriod.start"),
        (event("IMPORT_CAPACITY_LIMIT", 5, intervalPeriod={"start": "2026-03-10T12:00", "duration": "PT1H"}),
         "has no time zone"),
        (event("IMPORT_CAPACITY_LIMIT", 5, intervalPeriod={"start": NOW.isoformat(), "duration": "1 h"}),
         "not an ISO 8601 duration"),
        (event("IMPORT_CAPACITY_LIMIT", 5, intervalPeriod={"start": NOW.isoformat(), "duration": "-PT1H"}),
         "not a positive duration"),
        (event("PRICE", 1e9), "absurd"),
        (event("SIMPLE", 3), "SIMPLE level 3, which demand_response.simple_limits_w lacks"),
        (event("ALERT_GRID_EMERGENCY", "x"), "demand_response.emergency_limit_w is not set"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_leaves_a_mark_and_no_figure(bench: Bench, change: dict[str, Any], words: str) -> None:
    bench.events(change, event("IMPORT_CAPACITY_LIMIT", 7.0, eventName="good"))
    step(bench.vtn(simple_limits_w=(5000.0, 4000.0)))
    (demand,) = bench.demands
    assert len(demand.said.marks) == 1 and words in demand.said.marks[0]
    assert [one.event for one in demand.said.limits] == ["good"] and not demand.said.prices


@pytest.mark.parametrize(
    ("targets", "wanted", "read"),
    [
        (None, ("a",), True),
        (["a"], ("a", "b"), True),
        (["c"], ("a", "b"), False),
        ([{"type": "GROUP", "values": ["a"]}], ("a",), True),
        ([{"type": "GROUP", "values": ["c"]}], ("a",), False),
        (["c"], (), True),
    ],
)
def test_events_for_others_are_left_out(bench: Bench, targets: Any, wanted: tuple[str, ...], read: bool) -> None:
    bench.events(event("IMPORT_CAPACITY_LIMIT", 5.0, targets=targets))
    step(bench.vtn(targets=wanted))
    assert bool(bench.demands[0].said.limits) is read


def test_the_higher_priority_counts_within_a_program_and_the_lower_limit_between(bench: Bench) -> None:
    config = DemandResponse(vtn_url="http://localhost")
    raw = [
        event("IMPORT_CAPACITY_LIMIT", 10.0, priority=5),
        event("IMPORT_CAPACITY_LIMIT", 30.0, priority=1),
        event("IMPORT_CAPACITY_LIMIT", 40.0, programID="program-2"),
    ]
    bench.events(*raw)
    step(bench.vtn())
    assert bench.demands[0].series.limit_w(NOW_S + 1) == 30_000.0
    assert config.targets == ()


limits = st.lists(
    st.builds(
        PowerLimit,
        start_s=st.integers(0, 20).map(float),
        end_s=st.none() | st.integers(21, 40).map(float),
        limit_w=st.integers(0, 5).map(float),
        kind=st.sampled_from(list(LimitKind)),
        program=st.sampled_from(["a", "b"]),
        priority=st.integers(0, 2),
    ),
    max_size=8,
)


@given(limits, st.permutations(range(8)))
def test_spans_cover_everything_once_and_agree_with_each_moment(found: list[PowerLimit], order: list[int]) -> None:
    series = LimitSeries(found)
    spans = series.spans(0.0, 50.0)
    assert spans[0].start_s == 0.0 and spans[-1].end_s == 50.0
    assert all(a.end_s == b.start_s and a.limit != b.limit for a, b in pairwise(spans))
    for moment in np.arange(0.0, 50.0, 0.5):
        span = next(one for one in spans if one.start_s <= moment < one.end_s)
        assert (span.limit.limit_w if span.limit else math.inf) == series.limit_w(float(moment))
    assert series.lowest_w(0.0, 50.0) == min(series.limit_w(float(moment)) for moment in np.arange(0.0, 50.0, 0.5))
    again = LimitSeries([found[place] for place in order if place < len(found)])
    assert [again.limit_w(float(moment)) for moment in range(50)] == [series.limit_w(float(m)) for m in range(50)]


@given(limits)
def test_a_further_program_never_raises_a_limit(found: list[PowerLimit]) -> None:
    before, more = LimitSeries(found), PowerLimit(5.0, 30.0, 2.0, LimitKind.CAPACITY, program="another")
    after = LimitSeries([*found, more])
    for moment in range(50):
        assert after.limit_w(moment) <= before.limit_w(moment)
        assert after.limit_w(moment) <= (2.0 if 5 <= moment < 30 else math.inf)


def test_intervals_follow_each_other() -> None:
    raw = event("X", intervals=[{"payloads": [{"type": "IMPORT_CAPACITY_LIMIT", "values": [k]}]} for k in (3, 2, 1)])
    read = events.read(events.parse(json.dumps([raw]).encode()), DemandResponse(vtn_url="http://x"), NOW_S)
    assert [(one.start_s - NOW_S, one.limit_w) for one in read.limits] == [(0, 3000), (3600, 2000), (7200, 1000)]
