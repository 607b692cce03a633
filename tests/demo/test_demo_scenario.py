"""Three places and a day: the windows open one after the other, in the sun's order or a file's."""

from __future__ import annotations

import csv
import gzip
import io
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from heliotrope.cli.demo import scenario as scenarios
from heliotrope.cli.demo import traces
from heliotrope.cli.demo.recording import Span
from heliotrope.cli.demo.scenario import LEAD_RATIO, Scenario, of_the_sun
from heliotrope.coordinator.config import CoordinatorConfig
from heliotrope.coordinator.forecasts.clock import TraceClock
from heliotrope.foundation import config
from heliotrope.foundation.errors import InvalidInput

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
# A day in a minute and 84 s of it, as Options of --day-s 60 --target-s 78 would have it.
PACE = traces.Pace(hour_s=2.5, run_s=84.0, placed_s=6.0, ready_s=12.0, dwell_s=4.0)
START = datetime(2024, 6, 1, tzinfo=UTC)


def windows(scenario: Scenario, seconds: float) -> dict[str, list[Span]]:
    clock = TraceClock(scenario.start_utc, NOW, scenario.scale)
    return scenario.windows(clock, NOW, NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize("day_s", [24.0, 70.0, 3600.0])
def test_the_first_window_is_open_and_the_next_opens_after_the_lead(day_s: float) -> None:
    found = windows(of_the_sun(day_s), day_s)
    assert found["california"][0].start_s == 0
    opening_s = found["australia"][0].start_s
    assert opening_s == pytest.approx(LEAD_RATIO * day_s, abs=day_s / 200)
    assert found["california"][0].end_s > opening_s, "the windows overlap, or a move would come too late"


def test_a_day_has_a_window_open_at_every_moment() -> None:
    """The sun always shines on one of them, for about ten hours each."""
    found = windows(of_the_sun(100.0), 200.0)
    spans = [span for site in found.values() for span in site]
    for at_s in range(0, 200):
        assert any(span.start_s - 0.5 <= at_s <= span.end_s + 0.5 for span in spans), at_s
    assert 36 < found["spain"][-1].end_s - found["spain"][-1].start_s < 48


def test_the_coordinator_understands_the_scenario() -> None:
    scenario = of_the_sun(60.0)
    table: dict[str, Any] = {"identity": "i", "state_dir": "s", "sites": scenario.sites, **scenario.coordinator()}
    parsed = config.parse(table, CoordinatorConfig, where="scenario")
    assert parsed.trace.scale == 1440.0
    assert len(parsed.links) == 3
    assert all(link.energy_j_per_byte == 0 for link in parsed.links), "the agents' meters count the loopback's work"
    assert set(scenario.nodes.values()) == {site.name for site in parsed.sites}


def test_the_machines_idle_power_is_counted_once() -> None:
    idle_w = scenarios.NODE_IDLE_W * scenarios.NODE_COUNT
    assert idle_w == pytest.approx(scenarios.IDLE_W)
    assert idle_w + (scenarios.NODE_MAX_W - scenarios.NODE_IDLE_W) == pytest.approx(scenarios.MAX_W)


def rows(days: int, *phases_h: float, base: float = 400.0) -> list[list[str]]:
    """Hourly intensities that follow the day, each zone by its own phase."""
    found = [["datetime_utc", *(f"Z{index}" for index, _ in enumerate(phases_h))]]
    for hour in range(days * 24):
        stamp = START + timedelta(hours=hour)
        values = [base + 200 * math.cos((hour - phase) / 12 * math.pi) + hour % 5 for phase in phases_h]
        found.append([f"{stamp:%Y-%m-%d %H:%M:%S}", *(f"{value:.2f}" for value in values)])
    return found


def write(path: Path, table: list[list[str]]) -> Path:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(table)
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["trace.csv", "trace.csv.gz"])
def test_a_file_becomes_three_sites_with_windows_below_their_medians(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, rows(12, 0, 8, 16))
    scenario = traces.from_file(path, (), PACE, tmp_path / "fleet")
    assert scenario.names == ["Z0", "Z1", "Z2"]
    assert name in scenario.source
    found = windows(scenario, 90.0)
    for site in scenario.names:
        inside = sum(span.end_s - span.start_s for span in found[site])
        assert 25 < inside < 60, "half of a day is below its median"


def test_the_cut_keeps_the_files_values(tmp_path: Path) -> None:
    table = rows(12, 0, 8, 16)
    scenario = traces.from_file(write(tmp_path / "t.csv", table), (), PACE, tmp_path / "fleet")
    with (tmp_path / "fleet" / "intensity.csv").open() as file:
        cut = list(csv.reader(file))
    original = {row[0]: row[1:] for row in table}
    assert len(cut) > 100
    for row in cut[1:]:
        assert [float(value) for value in row[1:]] == pytest.approx([float(v) for v in original[row[0]]], rel=1e-4)
    assert f"{scenario.start_utc:%Y-%m-%d %H:%M:%S}" in original


def test_zones_are_chosen_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", rows(12, 0, 1, 8, 16))
    assert traces.from_file(path, ("Z3", "Z0", "Z2"), PACE, tmp_path / "fleet").names == ["Z3", "Z0", "Z2"]


@pytest.mark.parametrize(
    ("zones", "says"),
    [
        (("Z0", "Z1", "Z9"), "no such column; near it: Z"),
        (("Z0", "Z1"), "three different zones"),
        (("Z0", "Z1", "Z1"), "three different zones"),
    ],
)
def test_wrong_zones_are_named(tmp_path: Path, zones: tuple[str, ...], says: str) -> None:
    path = write(tmp_path / "t.csv", rows(12, 0, 8, 16))
    with pytest.raises(InvalidInput, match=says):
        traces.from_file(path, zones, PACE, tmp_path / "fleet")


def test_zones_that_never_change_places_are_refused_before_anything_starts(tmp_path: Path) -> None:
    table = rows(12, 0, 0, 0)
    for row in table[1:]:
        row[2] = f"{float(row[2]) + 700:.2f}"
        row[3] = f"{float(row[3]) + 1400:.2f}"
    with pytest.raises(InvalidInput, match="choose other --zones"):
        traces.from_file(write(tmp_path / "t.csv", table), (), PACE, tmp_path / "fleet")


def test_a_file_that_cannot_serve_says_why(tmp_path: Path) -> None:
    def refused(path: Path) -> str:
        with pytest.raises(InvalidInput) as caught:
            traces.from_file(path, (), PACE, tmp_path / "fleet")
        return str(caught.value)

    assert "No such file" in refused(tmp_path / "missing.csv")
    assert "2 zones" in refused(write(tmp_path / "two.csv", rows(12, 0, 8)))
    assert "give at least 7 days" in refused(write(tmp_path / "short.csv", rows(3, 0, 8, 16)))
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(b"not gzip")
    assert "broken gzip data" in refused(broken)
