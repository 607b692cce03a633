"""What a service does wrong: each fault is named, and what was known before stays in use only while it is fresh."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from heliotrope.coordinator.forecasts.clock import live as real_time
from heliotrope.coordinator.forecasts.live.feeds import (
    ElectricityMaps,
    Feeds,
    Prometheus,
    UkCarbonIntensity,
    WattTime,
)
from heliotrope.coordinator.forecasts.live.feedtask import FeedTask
from heliotrope.coordinator.forecasts.site import SiteForecast, open_site
from heliotrope.coordinator.forecasts.siteconfig import SiteConfig
from heliotrope.coordinator.forecasts.windows import WindowRule

from .conftest import NOW, Bench, hour_of, intensity, step


def maps(bench: Bench, **settings: object) -> ElectricityMaps:
    url = f"{bench.base}/electricitymaps/v3"
    return ElectricityMaps(zone="DE", key_file="key", url=url, deadline_s=2.0, **settings)  # type: ignore[arg-type]


def maps_task(bench: Bench, **settings: object) -> FeedTask:
    return bench.task(maps(bench, **settings), scope="life-cycle")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("401", "answered 401.*check the key"),
        ("403", "answered 403.*check the key"),
        ("404", "answered 404"),
        ("429", "answered 429.*lower every_s or requests_per_day"),
        ("500", "answered 500"),
        ("503", "answered 503"),
        ("hang", "no whole answer within 2 s"),
        ("drip", "no whole answer within 2 s"),
        ("garbage", "is no JSON"),
        ("html", "is no JSON.*Scheduled maintenance"),
        ("redirect", "redirects .*set url"),
        ("naive-times", "field datetime: .* has no time zone"),
        ("wrong-zone", "asked for DE, answered for XX-WRONG"),
        ("wrong-unit", "field emissionFactorType: asked lifecycle, answered 'direct'"),
    ],
)
def test_an_answer_that_cannot_be_used_says_why(bench: Bench, fault: str, words: str) -> None:
    bench.order(fault)
    step(maps_task(bench))
    (live,) = bench.delivered
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(live.failure)
    assert np.isnan(live.series.at(NOW))
    assert "has brought nothing yet" in live.stale_because(NOW.timestamp())


@pytest.mark.parametrize(
    ("fault", "mark", "unknown"),
    [
        ("gaps", r"\d+ gaps, .* h in all", True),
        ("duplicates", r"\d+ repeated times \(first", False),
        ("conflicts", r"\d+ repeated times with different values", True),
        ("negative", r"\d+ negative values \(first: -\d+", True),
        ("absurd", r"\d+ absurd values \(first: 9e\+15", True),
        ("nulls", r"\d+ unknown values", True),
        ("shuffled", "series out of order", False),
    ],
)
def test_faulty_values_leave_a_mark_and_are_unknown(bench: Bench, fault: str, mark: str, unknown: bool) -> None:
    bench.order(fault)
    step(maps_task(bench))
    (live,) = bench.delivered
    assert live.failure == ""
    with pytest.raises(AssertionError, match=mark):
        raise AssertionError(" | ".join(live.marks))
    values = [(hours, live.series.at(NOW + timedelta(hours=hours))) for hours in range(-20, 30)]
    assert any(np.isnan(value) for _, value in values) is unknown
    for hours, value in values:
        assert np.isnan(value) or value == pytest.approx(intensity(hour_of(NOW + timedelta(hours=hours))), abs=1e-3)


def test_units_that_lie(bench: Bench) -> None:
    """WattTime says its unit; a service that does not is found out by its own past."""
    bench.order("wrong-unit")
    step(bench.task(WattTime(region="CAISO_NORTH", user="replay", password_file="key", url=f"{bench.base}/watttime")))
    assert "field meta.units: 'kg_co2_per_mwh'" in bench.delivered[-1].failure
    bench.order()
    task = bench.task(UkCarbonIntensity(url=f"{bench.base}/uk"))
    step(task)
    bench.order("wrong-unit")
    bench.clock.turn(hours=1)
    step(task)
    assert "has the unit changed?" in bench.delivered[-1].failure
    assert bench.delivered[-1].series.at(NOW) == pytest.approx(intensity(hour_of(NOW)), abs=1e-3)


def test_mostly_absurd_values_refuse_the_answer(bench: Bench) -> None:
    meter = Prometheus(url=f"{bench.base}/prometheus", query="generation:METER", unit="percent", step_s=3600)
    step(bench.task(meter, "renewable"))
    assert "are outside 0 .. 100" in bench.delivered[0].failure and "check the unit" in bench.delivered[0].failure


def test_prometheus_faults(bench: Bench) -> None:
    for query, words in (
        ("rate:x", "unknown function"),
        ("generation:NOWHERE", "no such column"),
    ):
        step(bench.task(Prometheus(url=f"{bench.base}/prometheus", query=query, unit="w"), "generation"))
        assert words in bench.delivered[-1].failure
    bench.order("wrong-zone")
    step(bench.task(Prometheus(url=f"{bench.base}/prometheus", query="METER", unit="w"), "generation"))
    assert "gives 2 series" in bench.delivered[-1].failure


def test_a_service_that_is_not_there(bench: Bench) -> None:
    feed = UkCarbonIntensity(url="http://127.0.0.1:1/uk")
    assert step(bench.task(feed)) == 30.0
    assert "cannot reach 127.0.0.1:1" in bench.delivered[0].failure


def test_failures_are_tried_again_ever_later_and_as_the_service_asks(bench: Bench) -> None:
    bench.order("500")
    task = maps_task(bench)
    assert [step(task) for _ in range(9)] == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    bench.order("429@carbon-intensity*1")
    task = maps_task(bench)
    assert step(task) == 120.0
    asked = bench.asked("carbon-intensity")
    other = bench.task(maps(bench), "renewable", "life-cycle")
    other.account = task.account
    assert step(other) == 120.0 and step(task) == 120.0
    assert bench.asked("power-breakdown") == 0 and bench.asked("carbon-intensity") == asked
    bench.clock.turn(seconds=121)
    step(task)
    assert bench.delivered[-1].failure == ""


def test_the_days_budget_is_spread_and_survives_a_restart(bench: Bench) -> None:
    bench.clock.now = NOW.replace(hour=0, minute=0)
    asked = []
    for _ in range(24):
        step(maps_task(bench, requests_per_day=20, every_s=60.0))  # a new process each time: only the disk remembers
        bench.clock.turn(hours=1)
        asked.append(bench.asked("carbon-intensity"))
    assert asked[-1] <= 20
    assert asked[3] <= 6 and asked[-1] >= 16
    assert asked[-1] > asked[12] > asked[6]


def site_of(task: FeedTask) -> SiteForecast:
    """A site whose only figures come from that feed, as it is in this moment."""
    feed = task.feed
    config = SiteConfig(
        name="north",
        latitude=52.0,
        longitude=13.0,
        grid_renewable_ratio=0.5,
        feeds=Feeds(intensity=feed),
        window=WindowRule(rule="intensity_below", threshold=250.0),
    )
    return open_site(config, real_time(NOW)).with_live(task.live())


def test_the_last_good_forecast_is_used_while_fresh_and_then_unknown(bench: Bench) -> None:
    task = maps_task(bench, stale_after_s=7200.0)
    step(task)
    site = open_site(site_of(task).config, real_time(NOW)).with_live(bench.delivered[-1])
    bench.order("500")
    bench.clock.turn(minutes=119)
    step(task)
    site = site.with_live(bench.delivered[-1])
    now = bench.clock.now
    assert site.intensity_now_g_per_kwh(now) == pytest.approx(intensity(hour_of(now)))
    assert site.window(now) is not None and site.unknown_because(now) == ""
    bench.clock.turn(minutes=2)
    now = bench.clock.now
    assert np.isnan(site.intensity_now_g_per_kwh(now))
    assert site.window(now) is None and site.next_window(now) is None and site.window_remaining_s(now) == 0.0
    said = site.unknown_because(now)
    assert "intensity (electricitymaps:DE) is stale: issued 2.02 h ago, good for 2 h" in said
    assert "answered 500" in said
    assert site.outlook(now, 86_400.0).note == said
    # What was observed stays true: the ledger books the past with it.
    assert site.mean_intensity_g_per_kwh(NOW - timedelta(hours=2), 3600.0) > 0


def test_a_restart_knows_what_was_known(bench: Bench) -> None:
    step(maps_task(bench))
    asked = bench.asked("carbon-intensity")
    again = maps_task(bench)
    assert again.live().series.at(NOW) == pytest.approx(intensity(hour_of(NOW)))
    assert 0 < step(again) <= 900.0
    assert bench.asked("carbon-intensity") == asked
    for path in (bench.folder / "cache").iterdir():
        path.write_bytes(path.read_bytes()[:-7])
    damaged = maps_task(bench)
    assert np.isnan(damaged.live().series.at(NOW))
    step(damaged)
    assert bench.delivered[-1].failure == ""


def test_another_zone_is_another_history(bench: Bench) -> None:
    step(maps_task(bench))
    other = bench.task(
        ElectricityMaps(zone="GB", key_file="key", url=f"{bench.base}/electricitymaps/v3"), scope="life-cycle"
    )
    assert np.isnan(other.live().series.at(NOW))
