"""The figures that the power side promises, each against a truth that is known otherwise."""

from __future__ import annotations

import itertools
import queue
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heliotrope.agent.power.batch import EnergyBatch
from heliotrope.agent.power.config import ModelConfig, PowerConfig
from heliotrope.agent.power.fake_scenario import FakeGpu, FakeScenario
from heliotrope.agent.power.integrator import Integrator
from heliotrope.agent.power.monitor import PowerMonitor
from heliotrope.agent.power.reading import Channel, Reading, Scope
from heliotrope.agent.power.sampler import Sampler, run
from heliotrope.agent.power.sources.fake import open_fake
from heliotrope.agent.power.window import SensorWindow
from heliotrope.foundation.clock import SystemClock

ERROR_RATIO = 0.005
SPAN_S = 60.0


# Once a second is too seldom for a load that goes up and down in seven, where a reset leaves only the power.
@pytest.mark.parametrize(("rate_hz", "period_s"), [(1.0, 60.0), (10.0, 7.0), (10.0, 60.0), (50.0, 7.0)])
@pytest.mark.parametrize("resets_s", [(), (20.03, 41.57), (5.0, 5.5, 30.0, 59.0)], ids=str)
def test_energy_over_a_minute_is_within_half_a_percent_through_resets(
    rate_hz: float, resets_s: tuple[float, ...], period_s: float
) -> None:
    gpu = FakeGpu(uuid="FAKE-0", period_s=period_s, resets_s=resets_s)
    now_s = 0.0
    source, _ = open_fake(FakeScenario(gpus=(gpu,)), 0.0, lambda: now_s)
    assert source is not None
    sampler = Sampler([source], rate_hz=rate_hz, flush_s=1.0, origin_s=0.0)
    late_s = itertools.cycle([0.0, 0.03, 0.3, 0.01])
    found: list[SensorWindow] = []

    def wait(seconds: float) -> bool:
        nonlocal now_s
        now_s += seconds + next(late_s) / rate_hz
        return now_s > SPAN_S + 2

    run(sampler, monotonic_s=lambda: now_s, wait=wait, emit=found.append)
    start_s, end_s = found[0].start_s, found[-1].end_s
    assert end_s - start_s >= SPAN_S
    truth_j = gpu.energy_j(end_s) - gpu.energy_j(start_s)
    assert sum(window.devices[0].energy_j for window in found) == pytest.approx(truth_j, rel=ERROR_RATIO)
    covered_s = sum(window.devices[0].covered_s for window in found)
    assert covered_s == pytest.approx(end_s - start_s, rel=ERROR_RATIO)


def test_energy_over_a_minute_is_exact_through_wraps() -> None:
    """RAPL: 262 kJ in a counter of 32 bits; here of 1 kJ, so that 250 W wrap it every four seconds."""
    wrap_j, power_w = 1000.0, 250.0
    channel = Channel(device="d", source="rapl", scope=Scope.PACKAGE, has_counter=True, wrap_j=wrap_j)
    integrator = Integrator(channel, gap_s=0.5)
    for tick in range(round(SPAN_S * 10) + 1):
        taken_s = tick / 10
        energy_j = (900.0 + power_w * taken_s) % wrap_j
        reading = Reading(device="d", source="rapl", scope=Scope.PACKAGE, taken_s=taken_s, energy_j=energy_j)
        integrator.add(reading)
    assert integrator.close().energy_j == pytest.approx(power_w * SPAN_S, rel=1e-9)


def test_the_counter_alone_bounds_what_a_driver_is_asked(scenario: Any, start_child: Any) -> None:
    """Between two marks only the power is read; the joules are the counter's all the same."""
    scenario.gpu(0, power_w=100).set(gpu0__code__average=3, gpu0__code__power_call=3)
    child = start_child()
    hello = child.message()
    assert hello.channels[0].has_counter
    windows = [child.message() for _ in range(4)]
    energy_j = sum(window.devices[0].energy_j for window in windows)
    span_s = sum(window.devices[0].covered_s for window in windows)
    assert energy_j == pytest.approx(100 * span_s, abs=100 * 0.2)  # two steps of the counter


class Burner:
    """A process that works for a share of the time; its own clock is the truth about it."""

    def __init__(self, duty_ratio: float) -> None:
        code = f"""
import time
while True:
    until = time.thread_time() + {0.02 * duty_ratio}
    while time.thread_time() < until: pass
    time.sleep({0.02 * (1 - duty_ratio)})
"""
        self.process = subprocess.Popen([sys.executable, "-c", code])

    def cpu_s(self) -> float:
        return time.clock_gettime((~self.process.pid << 3) | 2)  # the clock of another process, in nanoseconds


@pytest.fixture
def burners() -> Iterator[tuple[Burner, Burner]]:
    two = (Burner(0.9), Burner(0.3))
    yield two
    for burner in two:
        burner.process.kill()
        burner.process.wait()


def test_two_jobs_on_the_processors_get_their_share_within_five_percent(
    burners: tuple[Burner, Burner], tmp_path: Path
) -> None:
    """What is above the idle power goes by processor time; the truth is each process's own clock."""
    roots = {"one": [burners[0].process.pid], "two": [burners[1].process.pid]}
    batches: queue.Queue[EnergyBatch] = queue.Queue()
    config = PowerConfig(
        batch_s=4.0, model=ModelConfig(idle_w=0.0, max_w=100.0, scope="tree"), sys_root=str(tmp_path), rate_hz=10.0
    )
    monitor = PowerMonitor(config, lambda: roots, SystemClock(), batches.put)
    monitor.start()
    try:
        batches.get(timeout=60)
        before_s = [burner.cpu_s() for burner in burners]
        energy_j = {"one": 0.0, "two": 0.0, "?": 0.0, "": 0.0}
        for _ in range(2):
            for share in batches.get(timeout=60).shares:
                energy_j[share.job_id] += share.energy_j
        used_s = [burner.cpu_s() - before for burner, before in zip(burners, before_s, strict=True)]
    finally:
        monitor.stop()
    jobs_j = energy_j["one"] + energy_j["two"]
    assert energy_j["one"] / jobs_j == pytest.approx(used_s[0] / sum(used_s), abs=0.05)


def test_two_jobs_on_a_gpu_get_their_share_and_nothing_is_left_over(scenario: Any) -> None:
    """Two thirds and one third of the time on the SMs, by two live processes; at most 2 % belong to nobody."""
    sleepers = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
    one, two = (process.pid for process in sleepers)
    scenario.gpu(0, power_w=300, process=[f"{one} 1000 60", f"{two} 1000 30"])
    batches: queue.Queue[EnergyBatch] = queue.Queue()
    roots = {"one": [one], "two": [two]}
    monitor = PowerMonitor(PowerConfig(batch_s=5.0), lambda: roots, SystemClock(), batches.put)
    monitor.start()
    try:
        batches.get(timeout=60)
        batch = batches.get(timeout=60)
    finally:
        monitor.stop()
        for process in sleepers:
            process.kill()
            process.wait()
    (device,) = batch.devices
    share_ratio = {share.job_id: share.energy_j / device.energy_j for share in batch.shares}
    assert share_ratio["one"] == pytest.approx(2 / 3, rel=0.05)
    assert share_ratio["two"] == pytest.approx(1 / 3, rel=0.05)
    assert share_ratio.get("?", 0.0) <= 0.02
    assert sum(share_ratio.values()) == pytest.approx(1.0, abs=1e-6)
    assert {share.rule for share in batch.shares} == {"sm"}


@pytest.mark.slow
def test_a_real_minute_of_the_stub_driver_through_a_reset(scenario: Any) -> None:
    scenario.gpu(0, power_w=300)
    batches: queue.Queue[EnergyBatch] = queue.Queue()
    monitor = PowerMonitor(PowerConfig(batch_s=10.0), dict, SystemClock(), batches.put)
    monitor.start()
    try:
        batches.get(timeout=60)
        found = [batches.get(timeout=60) for _ in range(3)]
        scenario.gpu(0, power_w=300, energy_j=0.0)  # the counter starts again
        found += [batches.get(timeout=60) for _ in range(4)]
    finally:
        monitor.stop()
    span_s = (found[-1].end_utc - found[0].start_utc).total_seconds()
    energy_j = sum(device.energy_j for batch in found for device in batch.devices)
    assert energy_j == pytest.approx(300 * span_s, rel=ERROR_RATIO)
    assert any("reset" in device.gap_reason for batch in found for device in batch.devices)
