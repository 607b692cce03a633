"""Counters and ages by hand-made input: what a whole fleet does not show at will."""

from __future__ import annotations

import math
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from prometheus_client.process_collector import ProcessCollector
from sqlalchemy import text

from heliotrope.agent.metrics import families as f
from heliotrope.agent.metrics.energy import LEAVE_S, EnergyTotals
from heliotrope.agent.metrics.own import SpoolAge, descendants
from heliotrope.agent.power.batch import DeviceEnergy, EnergyBatch, EnergyShare
from heliotrope.agent.spool import Spool, SpoolConfig
from heliotrope.agent.transfer.result import Progress
from heliotrope.agent.transfer.traffic import Traffic
from heliotrope.coordinator.metrics.meters import Meters
from heliotrope.coordinator.state.database import Database
from heliotrope.foundation.exposition import OwnProcess
from heliotrope.foundation.metrics import Family, Kind, Samples
from heliotrope.foundation.ownfigures import pss_bytes

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class HandClock:
    """Stands until it is turned."""

    now_s = 1000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def boottime_s(self) -> float:
        return self.now_s

    def utc(self) -> datetime:
        return START + timedelta(seconds=self.now_s - 1000.0)


def batch(coverage_ratio: float = 1.0, **jobs_j: float) -> EnergyBatch:
    """Ten seconds of one device."""
    device = DeviceEnergy(
        device="GPU-0",
        source="nvml",
        scope="gpu",
        estimated=False,
        energy_j=sum(jobs_j.values()),
        min_w=None,
        mean_w=None,
        max_w=None,
        coverage_ratio=coverage_ratio,
    )
    names = {"idle": "", "other": "?"}
    shares = tuple(
        EnergyShare(device="GPU-0", job_id=names.get(job, job), energy_j=energy_j, rule="sm")
        for job, energy_j in jobs_j.items()
    )
    return EnergyBatch(
        boot_id="b",
        start_utc=START,
        end_utc=START + timedelta(seconds=10),
        start_boottime_s=0.0,
        devices=(device,),
        shares=shares,
    )


def figures(totals: EnergyTotals) -> dict[tuple[Family, tuple[str, ...]], float]:
    samples = Samples()
    totals.collect(samples)
    return {(one.family, one.labels): one.value for one in samples}


def test_energy_is_summed_and_closes() -> None:
    totals = EnergyTotals(HandClock())
    totals.add(batch(j1=30.0, idle=5.0))
    totals.add(batch(j1=10.0, other=2.0))
    found = figures(totals)
    assert found[f.JOB_ENERGY, ("j1", "GPU-0", "sm")] == 40
    assert (found[f.DEVICE_IDLE, ("GPU-0",)], found[f.DEVICE_UNATTRIBUTED, ("GPU-0",)]) == (5, 2)
    assert found[f.DEVICE_ENERGY, ("GPU-0", "nvml", "gpu", "false")] == 47


def test_a_gap_is_one_however_long() -> None:
    totals = EnergyTotals(HandClock())
    for coverage_ratio in (1.0, 0.5, 0.0, 0.2, 1.0, 0.96, 0.0):
        totals.add(batch(coverage_ratio))
    found = figures(totals)
    assert found[f.DEVICE_GAPS, ("GPU-0",)] == 2
    assert found[f.DEVICE_GAP, ("GPU-0",)] == pytest.approx(70 - 36.6)
    assert found[f.DEVICE_COVERED, ("GPU-0",)] == pytest.approx(36.6)


def test_a_device_that_was_never_measured_has_no_joules() -> None:
    totals = EnergyTotals(HandClock())
    totals.add(batch(0.0))
    assert not [key for key in figures(totals) if key[0] is f.DEVICE_ENERGY]


def test_jobs_that_are_over_leave() -> None:
    clock = HandClock()
    totals = EnergyTotals(clock)
    totals.add(batch(j1=1.0))
    clock.now_s += LEAVE_S
    totals.add(batch(j2=1.0))
    assert {labels[0] for family, labels in figures(totals) if family is f.JOB_ENERGY} == {"j1", "j2"}
    clock.now_s += 1
    totals.add(batch(j2=1.0))
    assert {labels[0] for family, labels in figures(totals) if family is f.JOB_ENERGY} == {"j2"}


def test_the_spool_tells_its_oldest_and_its_losses(tmp_path: Path) -> None:
    clock = HandClock()
    spool = Spool(tmp_path, clock, SpoolConfig(quota_bytes=8192, segment_bytes=4096))
    age = SpoolAge(spool, clock)
    assert age.seconds() is None
    spool.append(batch(j1=1.0))
    clock.now_s += 110
    assert age.seconds() == 100
    spool.append(batch(j1=2.0))
    spool.acknowledge(1)
    assert age.seconds() == 100  # the second's, which ended at the same moment
    spool.acknowledge(2)
    assert age.seconds() is None
    for number in range(200):
        spool.append(batch(**{f"j{number}": 1.0}))
    assert spool.lost_counts["quota"] > 0 and spool.size_bytes <= spool.quota_bytes
    spool.close()


def progress(wire_bytes: int) -> Progress:
    return Progress(done_bytes=1, total_bytes=2, wire_bytes=wire_bytes, rate_bytes_per_s=1.0, ratio=1.0, left_s=None)


def test_received_bytes_never_fall() -> None:
    """A second address begins at 0 again; a failed pull keeps what it cost."""
    traffic, seen = Traffic(), []
    with pytest.raises(OSError), traffic.pull("j1") as pulling:
        for wire_bytes in (100, 300, 50, 80):
            pulling.advance(progress(wire_bytes))
            seen.append(traffic.totals().wire_bytes)
        raise OSError("cut")
    assert seen == [100, 300, 350, 380]
    totals = traffic.totals()
    assert (totals.wire_bytes, totals.failed_count, totals.done_count, traffic.pulling()) == (380, 1, 0, [])


def test_helpers_of_helpers_are_found() -> None:
    """A shell that waits for a child of its own, and the child."""
    with subprocess.Popen(["sh", "-c", "cat; true"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdin is not None and shell.stdout is not None
        shell.stdin.write(b"x\n")
        shell.stdin.flush()
        assert shell.stdout.read(2) == b"x\n"  # so that cat runs
        (cat,) = psutil.Process(shell.pid).children()
        assert {shell.pid, cat.pid} <= set(descendants(os.getpid())) and descendants(cat.pid) == []
        assert (pss_bytes(cat.pid) or 0) > 0 and pss_bytes(2**22 + 1) is None
        cat.kill()
        shell.stdout.read()


def test_the_own_process_is_known_without_proc_stat(tmp_path: Path) -> None:
    """As in the coordinator's sandbox (ProcSubset=pid), where the library's own collector gives nothing."""
    (tmp_path / "self").symlink_to("/proc/self")
    found = {family.name: family.samples[0].value for family in OwnProcess(proc=str(tmp_path), registry=None).collect()}
    assert found["process_start_time_seconds"] == pytest.approx(psutil.Process().create_time(), abs=2)
    assert not list(ProcessCollector(proc=str(tmp_path), registry=None).collect())


def test_unknown_is_absent() -> None:
    samples, family = Samples(), Family("heliotrope_x_watts", Kind.GAUGE, "X.", ("device",))
    samples.add(family, None, "a")
    samples.add(family, math.nan, "b")
    samples.add(family, 0.0, "c")
    assert [one.labels for one in samples] == [("c",)]
    with pytest.raises(ValueError, match="heliotrope_x_watts has the labels"):
        samples.add(family, 1.0)


def test_only_what_writes_is_a_commit(tmp_path: Path) -> None:
    database, told = Database.in_folder(tmp_path), list[float]()
    database.on_commit = told.append
    with database.transaction() as tx:
        tx.nodes.all()
    assert not told
    with database.transaction() as tx:
        tx.marks.raise_handover_count(1)
    assert len(told) == 1
    with pytest.raises(KeyError), database.transaction() as tx:
        tx.marks.raise_handover_count(2)
        raise KeyError
    assert len(told) == 1
    with database.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM about")).scalar()
    database.close()


def test_standstill_without_an_expectation_has_no_ratio() -> None:
    meters = Meters()
    meters.stood_still(4.0, None, None)
    meters.stood_still(6.0, 1.0, 3.0)
    value = meters.registry.get_sample_value
    assert value("heliotrope_standstill_seconds_sum") == 10
    assert value("heliotrope_standstill_network_seconds_count") == 1
    assert (value("heliotrope_standstill_expected_ratio_sum"), value("heliotrope_standstill_expected_ratio_count")) == (
        2,
        1,
    )
