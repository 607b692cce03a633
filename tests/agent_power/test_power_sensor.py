"""The agent's side of the sensor process: what it does about children that crash, vanish or lose a device."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from heliotrope.agent.power.sensor import Sensor
from heliotrope.agent.power.window import SensorWindow, Settings

Start = Callable[..., Sensor]


@pytest.fixture
def start() -> Iterator[Start]:
    sensors: list[Sensor] = []

    def make(**options: Any) -> Sensor:
        settings = Settings(
            rate_hz=20.0, flush_s=0.3, origin_s=time.monotonic(), sources=("nvml",), sys_root="/nonexistent"
        )
        sensors.append(Sensor(settings, hang_s=5.0, **options))
        sensors[-1].start(time.monotonic())
        return sensors[-1]

    yield make
    for sensor in sensors:
        sensor.stop()


def poll_until(sensor: Sensor, suits: Callable[[list[SensorWindow]], object]) -> list[SensorWindow]:
    """All windows up to the poll after which ``suits`` holds for them."""
    found: list[SensorWindow] = []
    deadline_s = time.monotonic() + 60
    while not suits(found):
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.02)
        found += sensor.poll(time.monotonic())
    return found


def covered(found: list[SensorWindow], device: str) -> bool:
    return any(d.device == device and d.covered_s > 0 for window in found for d in window.devices)


def child_pid(sensor: Sensor) -> int:
    process = sensor._process
    assert process is not None
    return process.pid


def test_a_killed_child_is_started_anew_and_bridges(start: Start, scenario: Any) -> None:
    scenario.gpu(0, power_w=100)
    sensor = start()
    found = poll_until(sensor, lambda found: covered(found, "GPU-0"))
    os.kill(child_pid(sensor), signal.SIGKILL)
    found += poll_until(sensor, lambda _: sensor.restart_count == 1)
    assert "code -9" in sensor.down_reason
    more = poll_until(sensor, lambda found: len(found) >= 2)
    assert sensor.down_reason == ""
    (first, *_), devices = more[0].devices, [window.devices[0] for window in found + more]
    assert "bridged" in first.gap_reason
    energy_j, covered_s = sum(d.energy_j for d in devices), sum(d.covered_s for d in devices)
    assert energy_j == pytest.approx(100 * covered_s, abs=25)
    assert covered_s == pytest.approx(more[-1].end_s - found[0].start_s, abs=0.2)


def test_a_child_that_cannot_start_is_tried_again_ever_more_rarely(start: Start) -> None:
    sensor = start(command=(sys.executable, "-c", "raise SystemExit(3)"))
    waits: list[float] = []
    for _ in range(3):
        count = sensor.restart_count
        now_s = time.monotonic() + 100 * len(waits)
        deadline_s = time.monotonic() + 30
        while sensor.restart_count == count and time.monotonic() < deadline_s:
            sensor.poll(now_s)
            time.sleep(0.02)
        waits.append(sensor.wake_s(now_s))
    assert waits == sorted(waits) and waits[-1] > waits[0]
    assert "code 3" in sensor.down_reason


def test_a_command_that_does_not_exist_is_named(start: Start) -> None:
    sensor = start(command=("/nonexistent/sensor",))
    assert "No such file" in sensor.down_reason


def test_what_a_child_prints_besides_is_left_out(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    sensor = start(command=(sys.executable, "-c", "print('a driver greets you', flush=True); input(); input()"))
    poll_until(sensor, lambda _: "left out" in caplog.text)
    assert sensor.channels == ()


def test_a_lost_gpu_comes_back_by_opening_it_anew(start: Start, scenario: Any) -> None:
    scenario.gpu(0, power_w=100).gpu(1, power_w=50)
    sensor = start(reprobe_s=1.0)
    poll_until(sensor, lambda found: covered(found, "GPU-0"))
    first = child_pid(sensor)
    scenario.set(gpu0__code__device=15)
    poll_until(sensor, lambda found: any("NVML 15" in d.gap_reason for w in found for d in w.devices))
    scenario.set(gpu0__code__device=None)
    found = poll_until(sensor, lambda found: covered(found, "GPU-0"))
    assert child_pid(sensor) != first
    assert sensor.restart_count == 0  # it was no failure of the sensor
    assert covered(found, "GPU-1")


def test_a_driver_that_is_loaded_later_is_found(start: Start, scenario: Any) -> None:
    scenario.gpu(0, power_w=100).set(init=9)
    sensor = start(reprobe_s=0.5)
    poll_until(sensor, lambda _: sensor.has_answered)
    assert "NVML 9" in sensor.problems[0]
    scenario.set(init=None)
    poll_until(sensor, lambda found: covered(found, "GPU-0"))
    assert sensor.problems == ()
    assert [channel.device for channel in sensor.channels] == ["GPU-0"]
