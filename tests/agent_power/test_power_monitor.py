"""The whole room at work: real sensor process on the stub driver, real jobs, batches with closed books."""

from __future__ import annotations

import itertools
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from heliotrope.agent.power.batch import EnergyBatch
from heliotrope.agent.power.config import ModelConfig, PowerConfig
from heliotrope.agent.power.monitor import PowerMonitor
from heliotrope.foundation import config as configuration
from heliotrope.foundation.clock import SystemClock, boot_id
from heliotrope.foundation.errors import InvalidInput

PERIOD_S = 1.0
MODEL = ModelConfig(idle_w=20.0, max_w=100.0, scope="tree")


class Bench:
    """A running monitor, its batches, and job processes that either burn or wait."""

    def __init__(self) -> None:
        self.batches: queue.Queue[EnergyBatch] = queue.Queue()
        self.jobs: dict[str, list[int]] = {}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.monitor: PowerMonitor | None = None

    def start(self, power: PowerConfig, **options: Any) -> PowerMonitor:
        self.monitor = PowerMonitor(power, self._roots, SystemClock(), self.batches.put, **options)
        self.monitor.start()
        return self.monitor

    def _roots(self) -> Mapping[str, Sequence[int]]:
        return self.jobs

    def job(self, name: str, *, burns: bool = True) -> int:
        code = "while True: pass" if burns else "import time; time.sleep(600)"
        self.processes.append(subprocess.Popen([sys.executable, "-c", code]))
        self.jobs[name] = [self.processes[-1].pid]
        return self.processes[-1].pid

    def batch(self, suits: Callable[[EnergyBatch], bool] = lambda batch: True) -> EnergyBatch:
        """The next batch that suits; every one on the way has closed books."""
        for _ in range(60):
            batch = self.batches.get(timeout=60)
            check_books(batch)
            if suits(batch):
                return batch
        raise AssertionError("no batch of 60 suits")


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    if bench.monitor is not None:
        bench.monitor.stop()
    for process in bench.processes:
        process.kill()
        process.wait()


def check_books(batch: EnergyBatch) -> None:
    for device in batch.devices:
        booked_uj = sum(round(share.energy_j * 1e6) for share in batch.shares if share.device == device.device)
        assert booked_uj == round(device.energy_j * 1e6)


def job_j(batch: EnergyBatch, job: str, device: str | None = None) -> float:
    return sum(s.energy_j for s in batch.shares if s.job_id == job and device in (None, s.device))


def only(batch: EnergyBatch, device: str) -> Any:
    return next(found for found in batch.devices if found.device == device)


def test_the_declared_model_charges_a_job_by_its_process_tree(bench: Bench, tmp_path: Path) -> None:
    bench.job("busy")
    bench.job("lazy", burns=False)
    monitor = bench.start(PowerConfig(batch_s=PERIOD_S, model=MODEL, sys_root=str(tmp_path)))
    batch = bench.batch(lambda batch: job_j(batch, "lazy") > 0 and batch.devices[0].coverage_ratio == 1.0)
    (device,) = batch.devices
    assert (device.source, device.scope, device.estimated) == ("model", "node", True)
    assert device.mean_w is not None and 20.0 <= device.mean_w <= 100.0
    idle_j = 20.0 * device.energy_j / device.mean_w
    # Idle power is shared by the two that are there, what is above it belongs to the one that works.
    assert job_j(batch, "lazy") == pytest.approx(idle_j / 2, rel=0.4)
    assert job_j(batch, "busy") > job_j(batch, "lazy")
    assert {share.rule for share in batch.shares} <= {"cpu", "holder"}
    assert batch.boot_id == boot_id()
    assert (batch.end_utc - batch.start_utc).total_seconds() == pytest.approx(PERIOD_S, abs=0.01)
    power = monitor.current()
    assert power.is_estimated and power.job_w["busy"] > 0
    assert power.total_w == pytest.approx(sum(power.device_w.values()))


def test_batches_follow_each_other_without_a_hole(bench: Bench, tmp_path: Path) -> None:
    bench.start(PowerConfig(batch_s=0.5, model=MODEL, sys_root=str(tmp_path)))
    found = [bench.batch() for _ in range(4)]
    for first, second in itertools.pairwise(found):
        assert abs((second.start_utc - first.end_utc).total_seconds()) < 0.05
        assert second.start_boottime_s - first.start_boottime_s == pytest.approx(0.5, abs=0.4)


def test_the_tree_scope_does_not_count_the_host(bench: Bench, tmp_path: Path) -> None:
    """A process beside the jobs burns; a node that only answers for its own trees stays near its idle power."""
    burn = "import os, time\nprint(os.getpid(), flush=True)\nos.close(1)\nwhile True: pass"
    leave = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}], start_new_session=True)"
    command = [sys.executable, "-c", leave]
    bystander = int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    try:
        bench.job("lazy", burns=False)
        bench.start(PowerConfig(batch_s=2.0, sources=("model",), model=MODEL))
        bench.batch()
        (device,) = bench.batch().devices
    finally:
        os.kill(bystander, signal.SIGKILL)
    # One busy processor would add this much.
    assert device.mean_w is not None
    assert device.mean_w < 20.0 + 0.5 * 80.0 / (os.cpu_count() or 1)


def test_gpus_are_shared_by_sm_time_and_the_model_stands_in_for_the_host(bench: Bench, scenario: Any) -> None:
    one, two = bench.job("one", burns=False), bench.job("two", burns=False)
    scenario.gpu(0, power_w=300, process=[f"{one} 1000 60", f"{two} 1000 20"])
    scenario.gpu(1, power_w=70, process=[f"{two} 1000 0"]).gpu(2, power_w=50)
    bench.start(PowerConfig(batch_s=PERIOD_S, model=MODEL, sys_root="/nonexistent"))
    batch = bench.batch(
        lambda batch: len(batch.devices) == 4 and all(device.coverage_ratio == 1.0 for device in batch.devices)
    )
    assert only(batch, "GPU-0").mean_w == pytest.approx(300, rel=0.25)
    assert job_j(batch, "one", "GPU-0") == pytest.approx(0.75 * only(batch, "GPU-0").energy_j, rel=1e-3)
    assert job_j(batch, "two", "GPU-1") == only(batch, "GPU-1").energy_j
    assert job_j(batch, "", "GPU-2") == only(batch, "GPU-2").energy_j
    assert only(batch, "model:host").estimated and not only(batch, "GPU-0").estimated


def test_a_gpu_given_to_a_job_is_charged_to_it_though_it_never_used_it(bench: Bench, scenario: Any) -> None:
    bench.job("holder", burns=False)
    scenario.gpu(0, power_w=70)
    bench.start(PowerConfig(batch_s=PERIOD_S), holders=lambda: {"GPU-0": ["holder"]})
    batch = bench.batch(lambda batch: only(batch, "GPU-0").energy_j > 0)
    assert job_j(batch, "holder", "GPU-0") == only(batch, "GPU-0").energy_j
    assert {share.rule for share in batch.shares} == {"holder"}


def test_a_hung_driver_costs_a_gap_and_the_counter_gives_the_joules_back(bench: Bench, scenario: Any) -> None:
    scenario.gpu(0, power_w=100)
    monitor = bench.start(PowerConfig(batch_s=PERIOD_S, hang_s=1.0))
    bench.batch(lambda batch: only(batch, "GPU-0").coverage_ratio == 1.0)
    scenario.set(gpu0__hang=1)
    gap = bench.batch(lambda batch: only(batch, "GPU-0").coverage_ratio == 0.0)
    assert only(gap, "GPU-0").mean_w is None
    assert only(gap, "GPU-0").gap_reason
    bench.batch(lambda batch: not monitor.current().device_w)  # an old value is not shown as live
    scenario.set(gpu0__hang=None)
    last = bench.batch(lambda batch: "bridged" in only(batch, "GPU-0").gap_reason)
    assert only(last, "GPU-0").mean_w == pytest.approx(100, rel=0.3)
    assert only(last, "GPU-0").energy_j > 200  # more than the batch itself is long
    assert monitor.sensor_restart_count >= 1


def test_a_machine_that_measures_its_host_does_not_use_the_model(
    bench: Bench, sys_tree: Callable[[dict[str, Any]], Path]
) -> None:
    root = sys_tree({"class/hwmon/hwmon0/name": "power_meter", "class/hwmon/hwmon0/power1_average": 200_000_000})
    bench.job("busy")
    monitor = bench.start(PowerConfig(batch_s=PERIOD_S, model=MODEL, sys_root=str(root)))
    batch = bench.batch(lambda batch: bool(batch.devices) and batch.devices[0].coverage_ratio == 1.0)
    (device,) = batch.devices
    assert (device.source, device.estimated) == ("hwmon", False)
    assert device.mean_w == pytest.approx(200)
    assert job_j(batch, "busy") > 0
    assert [channel.source for channel in monitor.channels] == ["hwmon"]


def test_nothing_to_measure_with_is_said_and_gives_no_batch(bench: Bench, tmp_path: Path) -> None:
    monitor = bench.start(PowerConfig(batch_s=0.2, sources=("rapl",), sys_root=str(tmp_path)))
    monitor.stop()
    assert bench.batches.empty()
    assert "declare power.model.idle_w" in monitor.problems[-1]
    assert monitor.current().device_w == {}


def test_stop_hands_out_the_last_piece(bench: Bench, tmp_path: Path) -> None:
    bench.job("busy")
    monitor = bench.start(PowerConfig(batch_s=300.0, model=MODEL, sys_root=str(tmp_path)))
    deadline_s = time.monotonic() + 60
    while not monitor.current().job_w and time.monotonic() < deadline_s:
        time.sleep(0.05)
    monitor.stop()
    batch = bench.batches.get(timeout=30)
    check_books(batch)
    assert 0 < (batch.end_utc - batch.start_utc).total_seconds() < 250
    assert job_j(batch, "busy") > 0
    monitor.stop()


def test_a_failing_sink_does_not_end_the_measuring(tmp_path: Path) -> None:
    calls: queue.Queue[EnergyBatch] = queue.Queue()

    def sink(batch: EnergyBatch) -> None:
        calls.put(batch)
        raise RuntimeError("the spool is on fire")

    config = PowerConfig(batch_s=0.3, model=MODEL, sys_root=str(tmp_path))
    monitor = PowerMonitor(config, dict, SystemClock(), sink)
    monitor.start()
    try:
        assert calls.get(timeout=60).start_utc < calls.get(timeout=60).start_utc
    finally:
        monitor.stop()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"rate_hz": 100}, "rate_hz"),
        ({"batchs": 1}, "batchs"),
        ({"sources": ["nvlm"]}, "sources"),
        ({"sources": ["model"]}, "model.idle_w"),
        ({"model": {"idle_w": 50, "max_w": 10}}, "max_w 10 is below idle_w 50"),
        ({"model": {"idle_w": 50}}, "max_w"),
        ({"model": {"idle_w": 1, "max_w": 2, "scope": "galaxy"}}, "scope"),
    ],
)
def test_a_wrong_configuration_names_the_field(table: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        configuration.parse(table, PowerConfig, where="agent.toml")


def test_a_right_configuration_is_read() -> None:
    table = {"sources": ["nvml", "model"], "model": {"idle_w": 5, "max_w": 9, "scope": "tree"}, "rate_hz": 50}
    power = configuration.parse(table, PowerConfig, where="agent.toml")
    assert (power.hardware, power.may_model, power.batch_s) == (("nvml",), True, 10.0)
    assert configuration.parse({}, PowerConfig, where="agent.toml").sources == "auto"
