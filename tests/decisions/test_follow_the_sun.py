"""Forecasts and planner together: a job follows the sun round the earth, and does not jump about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from heliotrope.coordinator.decisions.decision import Decision
from heliotrope.coordinator.decisions.planner import plan
from heliotrope.coordinator.decisions.snapshot import JobView, LinkView, NodeView, Settings, SiteView, Snapshot
from heliotrope.coordinator.forecasts.clock import TraceClock
from heliotrope.coordinator.forecasts.site import SiteForecast, open_site
from heliotrope.coordinator.forecasts.siteconfig import SiteConfig
from heliotrope.coordinator.forecasts.windows import WindowRule

TRACE = datetime(2023, 6, 21, tzinfo=UTC)
REAL = datetime(2026, 3, 1, 9, tzinfo=UTC)
DAY_S = 120.0  # real seconds to a day of trace
PLACES = {"accra": (5.6, -0.2), "singapore": (1.35, 103.8), "quito": (-0.2, -78.5)}


def forecasts() -> dict[str, SiteForecast]:
    clock = TraceClock(TRACE, REAL, 86400.0 / DAY_S)
    return {
        name: open_site(
            SiteConfig(
                name=name,
                latitude=latitude,
                longitude=longitude,
                solar_capacity_w=3000.0,
                load_w=1000.0,
                grid_intensity_g_per_kwh=450.0,
                grid_renewable_ratio=0.2,
                window=WindowRule(rule="surplus"),
            ),
            clock,
        )
        for name, (latitude, longitude) in PLACES.items()
    }


def view(forecast: SiteForecast, now: datetime) -> SiteView:
    outlook = forecast.outlook(now, horizon_s=DAY_S, steps=96)
    return SiteView(
        name=forecast.config.name,
        nodes=(NodeView(node=f"{forecast.config.name}-1"),),
        intensity_g_per_kwh=outlook.intensity_g_per_kwh,
        nonrenewable_ratio=outlook.nonrenewable_ratio,
        nonrenewable_profile=outlook.profile_ratio,
        profile_step_s=outlook.profile_step_s,
        window_remaining_s=outlook.window_remaining_s,
        next_window_s=outlook.next_window_s,
        window_p05_s=outlook.window_p05_s,
        window_longest_s=outlook.window_longest_s,
        pue=forecast.config.pue,
        note=outlook.note,
    )


def walk(job: JobView, seconds: int) -> tuple[list[Decision], dict[str, float]]:
    """Plan once a real second; the moves, and the mean renewable share against never moving."""
    sites = forecasts()
    links = (LinkView(source="*", destination="*", bandwidth_bytes_per_s=1e8, e_net_j_per_byte=1e-8),)
    rules = Settings(dwell_s=5.0, horizon_s=DAY_S)
    at, moved_at, moves = job.site, REAL - timedelta(seconds=1000), []
    shares = {"moving": 0.0, "static": 0.0}
    for second in range(seconds):
        now = REAL + timedelta(seconds=second)
        current = JobView(
            **{field: getattr(job, field) for field in job.__struct_fields__ if field not in ("site", "since_move_s")},
            site=at,
            since_move_s=(now - moved_at).total_seconds(),
        )
        views = tuple(view(forecast, now) for forecast in sites.values())
        (found,) = plan(Snapshot(utc=now, jobs=(current,), sites=views, links=links, settings=rules)).decisions
        if found.action == "move":
            at, moved_at = found.destination_site, now
            moves.append(found)
        shares["moving"] += sites[at].renewable_ratio(now) / seconds
        shares["static"] += sites[job.site].renewable_ratio(now) / seconds
    return moves, shares


JOB = JobView(
    job_id="j",
    name="train",
    site="accra",
    state_bytes=1e8,
    save_s=0.2,
    load_s=0.3,
    downtime_s=0.5,
    power_w=50.0,
)


def test_it_follows_the_sun_and_does_not_jump_about() -> None:
    moves, shares = walk(JOB, 240)
    # Two days, three sites: each sunset is one move.
    assert 4 <= len(moves) <= 8
    for move in moves:
        assert move.chosen is not None
        assert move.chosen.window_s > 0
    assert shares["moving"] > shares["static"] + 0.2


@pytest.mark.parametrize("change", [{"state_bytes": 1e9}, {"movable": False}])
def test_it_stays_where_moving_is_not_feasible(change: dict[str, float]) -> None:
    job = JobView(**{**{field: getattr(JOB, field) for field in JOB.__struct_fields__}, **change})
    moves, _ = walk(job, 60)
    assert moves == []
