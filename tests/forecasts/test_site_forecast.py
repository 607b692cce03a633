"""A site's books and windows, by hand, on real and on scaled time."""

from __future__ import annotations

import gzip
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliotrope.coordinator.forecasts.clock import TraceClock
from heliotrope.coordinator.forecasts.site import SiteForecast, open_site
from heliotrope.coordinator.forecasts.siteconfig import SiteConfig, TraceSource
from heliotrope.coordinator.forecasts.windows import WindowRule
from heliotrope.foundation import config
from heliotrope.foundation.errors import InvalidInput

TRACE = datetime(2023, 6, 1, tzinfo=UTC)
REAL = datetime(2026, 3, 1, 9, tzinfo=UTC)
HOURS = """datetime_utc,own,grid,green
2023-06-01 00:00:00,0,400,40
2023-06-01 01:00:00,600,400,40
2023-06-01 02:00:00,2400,,40
2023-06-01 03:00:00,0,100,80
"""


def site(folder: Path, *, load_w: float = 1000.0, scale: float = 720.0) -> SiteForecast:
    """Meter load 1.2 kW; own generation 0, 0.6, 2.4, 0 kW; an hour lasts five real seconds."""
    (folder / "site.csv").write_text(HOURS, encoding="utf-8")
    table = SiteConfig(
        name="kyoto",
        latitude=35.0,
        longitude=135.8,
        load_w=load_w,
        pue=1.2,
        generation=TraceSource(file="site.csv", zone="own", unit="w"),
        intensity=TraceSource(file="site.csv", zone="grid", unit="g_per_kwh"),
        renewable=TraceSource(file="site.csv", zone="green", unit="percent"),
        window=WindowRule(rule="surplus"),
    )
    return open_site(table, TraceClock(TRACE, REAL, scale), folder)


def after(seconds: float) -> datetime:
    return REAL + timedelta(seconds=seconds)


def test_accounting_by_hand(tmp_path: Path) -> None:
    found = site(tmp_path)
    # Hour 0: grid only. Hour 1: half own PV at 41 g, half grid. Hour 2: all own, so the unknown grid does not matter.
    assert [found.renewable_ratio(after(s)) for s in (0, 5, 10, 15)] == pytest.approx([0.4, 0.7, 1.0, 0.8])
    assert [found.intensity_now_g_per_kwh(after(s)) for s in (0, 5, 10, 15)] == pytest.approx([400, 220.5, 41, 100])
    assert found.mean_intensity_g_per_kwh(REAL, 10.0) == pytest.approx((400 + 220.5) / 2)
    assert np.isnan(found.mean_intensity_g_per_kwh(REAL, 25.0))
    assert found.mean_renewable_ratio(REAL, 20.0) == pytest.approx((0.4 + 0.7 + 1.0 + 0.8) / 4)


def test_windows_are_in_real_seconds(tmp_path: Path) -> None:
    found = site(tmp_path)
    assert found.window(after(0)) is None
    assert found.next_window_in_s(after(1)) == pytest.approx(9.0)
    window = found.window(after(12))
    assert window is not None
    assert window.length_s == pytest.approx(5.0)
    assert found.window_remaining_s(after(12)) == pytest.approx(3.0)
    assert found.window_remaining_s(after(15.1)) == 0.0
    assert site(tmp_path, scale=1.0).window_remaining_s(after(2.5 * 3600)) == pytest.approx(1800.0)


def test_a_window_does_not_count_as_all_renewable(tmp_path: Path) -> None:
    (tmp_path / "site.csv").write_text(HOURS, encoding="utf-8")
    table = SiteConfig(
        name="x",
        latitude=0,
        longitude=0,
        grid_renewable_ratio=0.3,
        intensity=TraceSource(file="site.csv", zone="grid", unit="g_per_kwh"),
        window=WindowRule(rule="intensity_below", threshold=150),
    )
    found = open_site(table, TraceClock(TRACE, REAL, 720.0), tmp_path)
    assert found.window_remaining_s(after(16)) > 0
    assert found.renewable_ratio(after(16)) == pytest.approx(0.3)


def test_outlook_and_timeline(tmp_path: Path) -> None:
    found = site(tmp_path)
    outlook = found.outlook(REAL, horizon_s=40.0, steps=8)
    assert outlook.profile_ratio == pytest.approx((0.6, 0.3, 0.0, 0.2))  # the trace ends after 20 s of 40
    assert outlook.profile_step_s == 5.0
    assert outlook.window_remaining_s == 0.0
    assert outlook.next_window_s == pytest.approx(10.0)
    assert outlook.window_p05_s == outlook.window_longest_s == pytest.approx(5.0)
    assert outlook.note == ""
    line = found.timeline(REAL, after(25), points=6)
    assert line.renewable_ratio == pytest.approx((0.4, 0.7, 1.0, 0.8, None, None))
    assert [(w.start_utc, w.end_utc) for w in line.windows] == [(after(10), after(15))]


def test_what_is_unknown_says_why(tmp_path: Path) -> None:
    found = site(tmp_path)
    outlook = found.outlook(after(30), horizon_s=10.0)
    assert outlook.nonrenewable_ratio is None
    assert outlook.intensity_g_per_kwh is None
    assert outlook.profile_ratio == ()
    assert "intensity (site.csv:grid) has ended" in outlook.note
    assert "intensity (site.csv:grid) has no value for this time" in found.unknown_because(after(10))


def test_another_load_moves_share_and_windows(tmp_path: Path) -> None:
    found = site(tmp_path)
    half = found.with_load(500.0)
    assert half.renewable_ratio(after(5)) == pytest.approx(1.0)
    assert half.window_remaining_s(after(5)) == 0.0  # 600 W is not above the 600 W of the meter
    assert found.with_load(400.0).window_remaining_s(after(5)) == pytest.approx(10.0)
    assert found.with_load(5000.0).window(after(12)) is None


@given(load_w=st.floats(1, 1e5), second=st.floats(0, 19.9))
@settings(deadline=None)
def test_shares_stay_shares(tmp_path_factory: pytest.TempPathFactory, load_w: float, second: float) -> None:
    found = site(tmp_path_factory.getbasetemp(), load_w=load_w)
    ratio = found.renewable_ratio(after(second))
    assert 0.0 <= ratio <= 1.0
    intensity = found.intensity_now_g_per_kwh(after(second))
    assert np.isnan(intensity) or 0.0 <= intensity <= 400.0


def test_solar_sites_far_apart_have_windows_at_different_times() -> None:
    def solar_site(longitude: float) -> SiteForecast:
        table = SiteConfig(
            name=f"east-{longitude}",
            latitude=10.0,
            longitude=longitude,
            solar_capacity_w=3000.0,
            load_w=1000.0,
            grid_intensity_g_per_kwh=400.0,
            grid_renewable_ratio=0.2,
            window=WindowRule(rule="surplus"),
        )
        return open_site(table, TraceClock(TRACE, REAL, 720.0))

    sites = [solar_site(longitude) for longitude in (0.0, 120.0, -120.0)]
    starts = [found.timeline(REAL, after(120), points=2).windows for found in sites]
    assert all(len(windows) in (1, 2) for windows in starts)
    # A third of a day is 40 real seconds.
    window_0, window_120 = sites[0].next_window(REAL), sites[1].next_window(after(-60))
    assert window_0 is not None
    assert window_120 is not None
    shift_s = (window_0.start_utc - window_120.start_utc).total_seconds() % 120
    assert shift_s == pytest.approx(40.0, abs=1.0)
    noon = after(60)
    assert sites[0].renewable_ratio(noon) == 1.0
    assert sites[0].intensity_now_g_per_kwh(noon) == pytest.approx(41.0)
    assert sites[1].renewable_ratio(after(100)) == pytest.approx(0.2)


BASE = {"name": "x", "latitude": 0, "longitude": 0, "window": {"rule": "surplus"}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "field window.rule: surplus needs solar_capacity_w or generation"),
        ({"solar_capacity_w": 10.0}, "field load_w"),
        ({"window": {"rule": "price_below"}}, "price_below needs price"),
        ({"window": {"rule": "intensity_below", "threshold": 5}}, "needs grid_intensity_g_per_kwh or intensity"),
        ({"latitude": 91}, "field latitude"),
        ({"window": {"rule": "sunny"}}, "field window.rule"),
        ({"wndow": 3}, "field wndow: no such field"),
        ({"pue": 0.5}, "field pue"),
        (
            {
                "grid_intensity_g_per_kwh": 5.0,
                "intensity": {"file": "a.csv", "zone": "z", "unit": "g_per_kwh"},
                "window": {"rule": "intensity_below"},
            },
            "field grid_intensity_g_per_kwh: intensity is given by a trace as well",
        ),
        (
            {"price": {"file": "a.csv", "zone": "z", "unit": "w"}, "window": {"rule": "price_below"}},
            "field price.unit: w is no unit of price",
        ),
    ],
)
def test_bad_configurations_name_the_field(change: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        open_site(config.parse({**BASE, **change}, SiteConfig, where="sites.toml"), TraceClock(TRACE, REAL))


def test_direct_scope_has_no_life_cycle_factor(tmp_path: Path) -> None:
    table = msgspec.structs.replace(site(tmp_path).config, scope="direct")
    found = open_site(table, TraceClock(TRACE, REAL, 720.0), tmp_path)
    assert found.intensity_now_g_per_kwh(after(10)) == 0.0


def test_the_guides_example_is_read(tmp_path: Path) -> None:
    guide = Path(__file__).parents[2] / "docs" / "decisions.md"
    blocks = [block.split("```")[0] for block in guide.read_text(encoding="utf-8").split("```toml")[1:]]
    (table,) = (tomllib.loads(block) for block in blocks if 'name = "quito"' in block)
    (tmp_path / "lca.csv.gz").write_bytes(
        gzip.compress(b"datetime_utc,BR\n2023-06-01 00:00:00,90\n2023-06-01 01:00:00,80\n")
    )
    found = open_site(config.parse(table, SiteConfig, where="guide"), TraceClock(TRACE, REAL), tmp_path)
    assert found.config.name == "quito"
    assert found.window(after(17 * 3600)) is not None  # noon at 78 degrees west
