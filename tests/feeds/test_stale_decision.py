"""Once the last good forecast is too old, the decision is to stay, and it says why."""

from __future__ import annotations

from datetime import datetime

from heliotrope.coordinator.decisions import unknowns
from heliotrope.coordinator.decisions.explain import render
from heliotrope.coordinator.decisions.planner import plan
from heliotrope.coordinator.decisions.snapshot import JobView, LinkView, NodeView, SiteView, Snapshot
from heliotrope.coordinator.forecasts.clock import live as real_time
from heliotrope.coordinator.forecasts.live.feeds import ElectricityMaps, Feeds
from heliotrope.coordinator.forecasts.site import SiteForecast, open_site
from heliotrope.coordinator.forecasts.siteconfig import SiteConfig
from heliotrope.coordinator.forecasts.windows import WindowRule

from .conftest import NOW, Bench, step

DAY_S = 86_400.0


def view(forecast: SiteForecast, now: datetime) -> SiteView:
    """As the planner's manager makes it of a forecast."""
    outlook = forecast.outlook(now, DAY_S)
    name = forecast.config.name
    return SiteView(
        name=name,
        nodes=(NodeView(node=f"{name}-1"),),
        intensity_g_per_kwh=outlook.intensity_g_per_kwh,
        nonrenewable_ratio=outlook.nonrenewable_ratio,
        nonrenewable_profile=outlook.profile_ratio,
        profile_step_s=outlook.profile_step_s,
        window_remaining_s=outlook.window_remaining_s,
        next_window_s=outlook.next_window_s,
        window_p05_s=outlook.window_p05_s,
        window_longest_s=outlook.window_longest_s,
        note=outlook.note,
    )


def decided(sunny: SiteForecast, mine: SiteForecast, now: datetime) -> tuple[str, str]:
    job = JobView(
        job_id="j1",
        name="train",
        site="mine",
        node="mine-1",
        state_bytes=1e8,
        wire_bytes=1e8,
        save_s=1.0,
        load_s=1.0,
        downtime_s=2.0,
        power_w=300.0,
    )
    link = LinkView(source="*", destination="*", bandwidth_bytes_per_s=1e8, e_net_j_per_byte=1e-8)
    snapshot = Snapshot(utc=now, jobs=(job,), sites=(view(mine, now), view(sunny, now)), links=(link,))
    (decision,) = plan(snapshot).decisions
    return decision.action, render(unknowns.explained(decision, snapshot))


def site(name: str, share: float | None, feeds: Feeds) -> SiteForecast:
    window = WindowRule(rule="renewable_above", threshold=0.15)
    config = SiteConfig(name=name, latitude=0, longitude=0, grid_renewable_ratio=share, feeds=feeds, window=window)
    return open_site(config, real_time(NOW))


def test_a_job_moves_by_a_fresh_forecast_and_stays_by_a_stale_one(bench: Bench) -> None:
    url = f"{bench.base}/electricitymaps/v3"
    feed = ElectricityMaps(zone="DE", key_file="key", url=url, stale_after_s=3600.0)
    task = bench.task(feed, "renewable", "life-cycle")
    step(task)
    mine, sunny = site("mine", 0.01, Feeds()), site("sunny", None, Feeds(renewable=feed))
    sunny = sunny.with_live(bench.delivered[-1])
    assert decided(sunny, mine, NOW)[0] == "move"
    bench.order("429")
    bench.clock.turn(minutes=61)
    step(task)
    action, text = decided(sunny.with_live(bench.delivered[-1]), mine, bench.clock.now)
    assert action == "stay"
    assert "renewable (electricitymaps:DE) is stale: issued 1.02 h ago, good for 1 h" in text
    assert "answered 429" in text
