"""What reports say: definitions of docs/ledger.md, recomputed here from first principles."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from heliotrope.coordinator.managers.telemetry import DeviceEnergy, EnergyShare
from heliotrope.coordinator.state.model import Run, replace
from heliotrope.foundation.model import JobState, Progress

from .bookkeeping import NOON, Bookkeeping, batch, bookkeeping

HOUR_S = 3600.0
KWH = 3.6e6
YEAR_H = 8766.0


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Bookkeeping]:
    with bookkeeping(tmp_path) as made:
        yield made


@pytest.mark.parametrize("closed", [False, True])
def test_carbon_is_energy_times_pue_times_intensity(kept: Bookkeeping, closed: bool) -> None:
    kept.take("n1", batch(1, 0, {"": KWH}))
    kept.wait(HOUR_S if closed else 0.0)
    row = kept.row("node", "n1")
    assert row.carbon_g == pytest.approx(1.25 * 30.0)
    assert (row.energy_j, row.facility_energy_j, row.pue_ratio) == (KWH, 1.25 * KWH, 1.25)
    assert (row.renewable_ratio, row.renewable_hourly_ratio) == (0.9, 0.9)
    assert row.open_energy_j == (0.0 if closed else KWH)


def test_pue_never_multiplies_what_was_metered_at_the_facility(kept: Bookkeeping) -> None:
    kept.take("n4", batch(1, 0, {"": KWH}, node_id="n4"))
    kept.take("n1", batch(1, 0, {"": KWH}, scope="facility"))
    for name, intensity in (("n4", 100.0), ("n1", 30.0)):
        row = kept.row("node", name)
        assert (row.facility_energy_j, row.facility_metered_energy_j) == (KWH, KWH)
        assert row.carbon_g == pytest.approx(intensity) and not row.HasField("pue_ratio")


def test_unknown_intensity_stays_unknown(kept: Bookkeeping) -> None:
    kept.take("n3", batch(1, 0, {"j-1": KWH}, node_id="n3"))
    kept.take("n1", batch(1, 0, {"j-1": KWH}))
    kept.job("j-1", first_site="fog")
    row = kept.row("job", "j-1")
    assert (row.energy_j, row.unknown_energy_j) == (2 * KWH, KWH)
    assert row.carbon_g == pytest.approx(37.5), "of the known half alone"
    assert row.unknown_static_energy_j == 2 * KWH
    kept.wait(HOUR_S)
    assert all(entry.carbon_ng is None for entry in kept.entries("n3"))


def test_embodied_carbon_is_charged_for_the_time_held_and_idle_to_the_site(kept: Bookkeeping) -> None:
    for number in range(6):
        shares = {0: {"j-1": 1.0}, 1: {"j-1": 5.0, "j-2": 1.0}}.get(number % 3, {"": 1.0})
        kept.take("n1", batch(number + 1, number * 60, shares, length_s=60.0))
    kept.job("j-1")
    kept.job("j-2")
    rate_g_per_s = 150_000.0 / (4 * YEAR_H) / 3600
    for closed in (False, True):
        kept.wait(HOUR_S if closed else 0.0)
        assert kept.row("job", "j-1").embodied_g == pytest.approx(180 * rate_g_per_s, rel=1e-6)
        assert kept.row("job", "j-2").embodied_g == pytest.approx(60 * rate_g_per_s, rel=1e-6)
        assert kept.row("site", "valley").embodied_g == pytest.approx(360 * rate_g_per_s, rel=1e-6)
        assert kept.row("site", "valley").reserved_s == 360.0


def test_a_device_without_a_figure_is_unknown(kept: Bookkeeping) -> None:
    made = batch(1, 0, {"j-1": 1.0})
    share = EnergyShare(device="rapl:package-0", job_id="j-1", energy_j=1.0)
    host = DeviceEnergy(device="rapl:package-0", source="rapl", scope="package", coverage_ratio=1.0)
    kept.take("n1", msgspec.structs.replace(made, devices=(host,), shares=(share,)))
    row = kept.row("node", "n1")
    assert not row.HasField("embodied_g") and row.unknown_embodied_s == 10.0


def test_the_books_close(kept: Bookkeeping) -> None:
    """Jobs, idle and what nobody owns make the node; nodes the site; sites, and days, the fleet."""
    for number in range(40):
        shares = {"j-1": 0.1 * number, "j-2": 1 / 3, "": 0.7, "?": 0.01}
        kept.take("n1", batch(number + 1, number * 97, shares, length_s=97.0))
        kept.take("n2", batch(number + 1, number * 97, shares, length_s=97.0, node_id="n2"))
        if number == 20:
            kept.wait(0)
    kept.job("j-1", first_site="valley")
    kept.job("j-2", first_site="mine")
    report = kept.report()
    measured = 2 * sum(0.1 * n + round(1 / 3, 6) + 0.71 for n in range(40))
    for field in ("energy_j", "facility_energy_j", "carbon_g", "renewable_energy_j", "embodied_g", "reserved_s"):
        sums = {kind: sum(getattr(r, field) for r in report.rows if r.kind == kind) for kind in _KINDS}
        assert sums["node"] == pytest.approx(sums["fleet"], rel=1e-12)
        assert sums["site"] == pytest.approx(sums["fleet"], rel=1e-12)
        assert sums["day"] == pytest.approx(sums["fleet"], rel=1e-12)
        assert sums["job"] == pytest.approx(sums["job_site"], rel=1e-12)
    fleet = next(row for row in report.rows if row.kind == "fleet")
    assert fleet.energy_j == pytest.approx(measured, rel=1e-9)
    idle_j = 40 * 2 * 0.71
    assert sum(r.energy_j for r in report.rows if r.kind == "job") + idle_j == pytest.approx(fleet.energy_j, rel=1e-9)


_KINDS = ("job", "job_site", "node", "site", "day", "fleet")


def test_never_moved_is_the_same_energy_at_the_first_site(kept: Bookkeeping) -> None:
    kept.job("j-1", first_site="mine")
    kept.take("n1", batch(1, 0, {"j-1": KWH}))
    row = kept.row("job", "j-1")
    assert [row.carbon_g, row.carbon_static_g] == pytest.approx([37.5, 1000.0])


def test_work_per_joule_is_of_the_whole_life_or_unknown(kept: Bookkeeping) -> None:
    progress = Progress(step=100, samples=3200, tokens=8000, flops=5e15, parameters=7_000_000, reported_utc=NOON)
    kept.job("j-1", progress=progress, state=JobState.RUNNING)
    kept.take("n1", batch(1, 0, {"j-1": 1000.0}))
    row = kept.row("job", "j-1")
    assert (row.parameters, row.samples, row.tokens, row.flops) == (7_000_000, 3200, 8000, 5e15)
    assert (row.steps_per_j, row.tokens_per_j, row.flop_per_j) == (100 / 1250, 8000 / 1250, 5e15 / 1250)
    part = kept.row("job", "j-1", start=NOON + timedelta(seconds=1))
    assert not part.HasField("tokens_per_j") and part.tokens == 8000
    kept.job("j-2")
    silent = kept.row("job", "j-2")
    assert not silent.HasField("tokens") and not silent.HasField("flop_per_j")


def test_runtime_is_of_the_time_asked_for(kept: Bookkeeping) -> None:
    kept.job("j-1")
    with kept.database.transaction() as tx:
        for epoch, begin, end in ((1, 0, 600), (2, 900, 1500)):
            run = Run(
                job_id="j-1", epoch=epoch, node_id="n1", site="valley", started_utc=NOON + timedelta(seconds=begin)
            )
            tx.jobs.put_run(replace(run, ended_utc=NOON + timedelta(seconds=end)))
    kept.clock.passed_s = 5000.0
    assert kept.row("job", "j-1").runtime.seconds == 1200
    span = {"start": NOON + timedelta(seconds=300), "end": NOON + timedelta(seconds=1000)}
    assert kept.row("job", "j-1", **span).runtime.seconds == 400


def test_a_span_takes_the_intervals_that_begin_in_it(kept: Bookkeeping) -> None:
    for number in range(12):
        kept.take("n1", batch(number + 1, number * 300, {"": 1.0}))
    kept.wait(1200)
    inside = {"start": NOON + timedelta(seconds=300), "end": NOON + timedelta(seconds=900)}
    assert kept.row("node", "n1", **inside).energy_j == 2.0
    report = kept.report(points=True)
    assert sum(point.energy_j for point in report.points) == 12.0
    assert report.point_length.seconds == 300 and len(report.points) == 12
