"""Each provider against the replay server: the trace comes out as it went in, with its kind, scope and unit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest

from heliotrope.coordinator.forecasts.live.feeds import (
    AnyFeed,
    ElectricityMaps,
    Entsoe,
    FieldName,
    Prometheus,
    UkCarbonIntensity,
    WattTime,
)
from heliotrope.coordinator.forecasts.series import Kind, Scope, Unit

from .conftest import NOW, Bench, hour_of, intensity, step

Make = Callable[[Bench], AnyFeed]


def electricity_maps(bench: Bench) -> AnyFeed:
    return ElectricityMaps(zone="DE", key_file=bench.key_file, url=f"{bench.base}/electricitymaps/v3")


def watttime(bench: Bench) -> AnyFeed:
    return WattTime(region="CAISO_NORTH", user="replay", password_file="key", url=f"{bench.base}/watttime")


def uk(bench: Bench) -> AnyFeed:
    return UkCarbonIntensity(url=f"{bench.base}/uk")


def uk_region(bench: Bench) -> AnyFeed:
    return UkCarbonIntensity(url=f"{bench.base}/uk", region_id=13)


def meter(bench: Bench) -> AnyFeed:
    return Prometheus(url=f"{bench.base}/prometheus", query="generation:METER", unit="w", step_s=3600)


def entsoe(bench: Bench) -> AnyFeed:
    return Entsoe(domain="10Y1001A1001A82H", token_file="key", url=f"{bench.base}/entsoe/api")


@pytest.mark.parametrize(
    ("make", "field", "scope", "kind", "unit", "factor", "offset"),
    [
        (electricity_maps, "intensity", "life-cycle", "average", "g_per_kwh", 1.0, 0.0),
        (electricity_maps, "renewable", "life-cycle", "average", "ratio", 1e-3, 0.0),
        (watttime, "intensity", "direct", "marginal", "g_per_kwh", 1.0, 0.0),
        (uk, "intensity", "direct", "average", "g_per_kwh", 1.0, 0.0),
        (uk, "renewable", "direct", "average", "ratio", 1e-3, 0.0),
        (uk_region, "intensity", "direct", "average", "g_per_kwh", 1.0, 0.0),
        (uk_region, "renewable", "direct", "average", "ratio", 1e-3, 0.0),
        (meter, "generation", "direct", "average", "w", 100.0, 0.0),
        (entsoe, "price", "direct", "average", "price_per_mwh", 0.2, -40.0),
    ],
)
def test_the_figures_of_the_trace_come_out(
    bench: Bench, make: Make, field: FieldName, scope: Scope, kind: Kind, unit: Unit, factor: float, offset: float
) -> None:
    feed = make(bench)
    assert step(bench.task(feed, field, scope)) == feed.every_s
    (live,) = bench.delivered
    assert live.failure == "" and live.marks == ()
    found = live.series
    assert (found.unit, found.kind) == (unit, kind)
    assert found.scope == (scope if field == "intensity" else "none")
    for hours in (-20, -3, -1):
        moment = NOW + timedelta(hours=hours)
        assert found.at(moment) == pytest.approx(intensity(hour_of(moment)) * factor + offset, abs=1e-4)
    if not isinstance(feed, Prometheus):
        for hours in (1, 5, 11):
            moment = NOW + timedelta(hours=hours)
            assert found.at(moment) == pytest.approx(intensity(hour_of(moment)) * factor + offset, abs=1e-4)
        assert live.forecast_from == "provider"


def test_what_has_no_forecast_gets_the_baseline(bench: Bench) -> None:
    step(bench.task(meter(bench), "generation"))
    (live,) = bench.delivered
    assert live.forecast_from == "baseline" and live.estimated_ratio == 0.0
    ahead = [live.series.at(NOW + timedelta(hours=hours)) for hours in range(1, 25)]
    truth = [intensity(hour_of(NOW + timedelta(hours=hours))) * 100 for hours in range(1, 25)]
    assert np.corrcoef(ahead, truth)[0, 1] > 0.99
    assert np.isnan(live.series.at(NOW + timedelta(days=3)))


def test_a_plan_without_forecasts(bench: Bench) -> None:
    bench.order("401@forecast")
    feed = electricity_maps(bench)
    assert step(bench.task(feed, scope="life-cycle")) >= 600
    assert "401" in bench.delivered[0].failure and "check the key" in bench.delivered[0].failure
    modest = ElectricityMaps(zone="DE", key_file="key", url=f"{bench.base}/electricitymaps/v3", forecast="baseline")
    step(bench.task(modest, scope="life-cycle"))
    assert bench.delivered[1].failure == "" and bench.delivered[1].forecast_from == "baseline"
    assert not np.isnan(bench.delivered[1].series.at(NOW + timedelta(hours=12)))


def test_regions_past_is_estimated(bench: Bench) -> None:
    """The UK's regions have forecasts only, so what has passed was never measured."""
    step(bench.task(uk_region(bench)))
    step(bench.task(uk(bench)))
    regional, national = bench.delivered
    assert regional.estimated_ratio > 0.2 and national.estimated_ratio == 0.0


def test_a_session_of_watttime_is_used_until_it_ends(bench: Bench) -> None:
    task = bench.task(watttime(bench))
    step(task)
    bench.clock.turn(minutes=10)
    step(task)
    assert bench.asked("login") == 1
    bench.clock.turn(minutes=20)
    step(task)
    assert bench.asked("login") == 2
    assert [live.failure for live in bench.delivered] == ["", "", ""]


def test_a_wrong_secret_is_denied_and_never_shown(bench: Bench) -> None:
    (bench.folder / "key").write_text("s3cret-of-mine", encoding="ascii")
    for make, field in ((electricity_maps, "intensity"), (watttime, "intensity"), (entsoe, "price")):
        feed = make(bench)
        wait_s = step(bench.task(feed, field, "direct"))  # type: ignore[arg-type]
        assert wait_s >= 600
        assert "check the key" in bench.delivered[-1].failure
        assert "s3cret" not in bench.delivered[-1].failure
