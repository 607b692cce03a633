"""The NVIDIA path against a stub driver in C: real sensor process, real nvidia-ml-py, real ctypes."""

from __future__ import annotations

import time
from typing import Any

import pytest

from heliotrope.agent.power.reading import Scope
from heliotrope.agent.power.window import Farewell, Hello, Seed, SensorWindow

UNSUPPORTED = 3


def windows(child: Any, count: int) -> list[SensorWindow]:
    """The next windows of a child that has said hello."""
    found = [child.message() for _ in range(count)]
    assert all(isinstance(window, SensorWindow) for window in found)
    return found


def device(window: SensorWindow, name: str) -> Any:
    return next(device for device in window.devices if device.device == name)


def total(found: list[SensorWindow], name: str) -> tuple[float, float]:
    """(joules, covered seconds) of one device over some windows."""
    parts = [device(window, name) for window in found]
    return sum(part.energy_j for part in parts), sum(part.covered_s for part in parts)


def test_two_gpus_are_keyed_by_uuid_and_their_joules_are_the_counters(scenario: Any, start_child: Any) -> None:
    scenario.gpu(0, power_w=250).gpu(1, power_w=80)
    child = start_child()
    hello = child.message()
    assert isinstance(hello, Hello)
    assert [(c.device, c.source, c.scope) for c in hello.channels] == [
        ("GPU-0", "nvml", Scope.GPU),
        ("GPU-1", "nvml", Scope.GPU),
    ]
    found = windows(child, 4)
    for name, power_w in (("GPU-0", 250), ("GPU-1", 80)):
        energy_j, covered_s = total(found, name)
        # The counter moves in steps of 100 ms: at most one step off at either end.
        assert energy_j == pytest.approx(power_w * covered_s, abs=power_w * 0.25)
        assert device(found[-1], name).min_w == device(found[-1], name).max_w == power_w
    assert child.stop() == 0


@pytest.mark.parametrize(
    ("absent", "scope", "has_counter", "power"),
    [
        ([], Scope.GPU, True, "instant"),
        (["instant"], Scope.GPU, True, "average"),
        (["instant", "average"], Scope.GPU, True, "average"),
        (["energy"], Scope.GPU, True, "instant"),
        (["values"], Scope.GPU, True, "average"),
        (["energy", "energy_call", "energy191", "energy_module"], Scope.GPU, False, "instant"),
        (
            ["energy", "energy_call", "energy191", "instant", "average", "power_call"],
            Scope.MODULE,
            True,
            "instant",
        ),
        (
            [
                "energy",
                "energy_call",
                "energy191",
                "energy_module",
                "instant",
                "average",
                "power_call",
                "instant_module",
            ],
            Scope.MODULE,
            False,
            "average",
        ),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else None,
)
def test_each_field_is_probed_by_itself(
    scenario: Any, start_child: Any, absent: list[str], scope: Scope, has_counter: bool, power: str
) -> None:
    scenario.gpu(0, power_w=100, **{f"code__{name}": UNSUPPORTED for name in absent})
    child = start_child()
    (channel,) = child.message().channels
    assert (channel.scope, channel.has_counter) == (scope, has_counter)
    assert f"{power} power" in channel.label
    energy_j, covered_s = total(windows(child, 3), "GPU-0")
    assert energy_j == pytest.approx(100 * covered_s, abs=25)


def test_a_gpu_that_supports_nothing_is_absent_and_named(scenario: Any, start_child: Any) -> None:
    """Jetson Orin: the library opens and then answers "not supported" to everything."""
    scenario.gpu(0, power_w=100, code__device=0).set(
        **{
            f"gpu0__code__{name}": UNSUPPORTED
            for name in ("values", "energy_call", "power_call", "processes", "utilization")
        }
    )
    child = start_child()
    hello = child.message()
    assert hello.channels == ()
    assert "GPU-0" in hello.problems[0]
    assert child.process.wait(20) == 0


def test_no_driver_library_is_no_problem(start_child: Any) -> None:
    hello = start_child().message()
    assert (hello.channels, hello.problems) == ((), ())


@pytest.mark.parametrize("code", [9, 18])
def test_a_driver_that_does_not_open_is_named_with_a_remedy(scenario: Any, start_child: Any, code: int) -> None:
    scenario.set(init=code)
    hello = start_child().message()
    assert hello.channels == ()
    assert f"NVML {code}" in hello.problems[0] and ";" in hello.problems[0]


def test_a_lost_gpu_leaves_a_gap_and_the_other_goes_on(scenario: Any, start_child: Any) -> None:
    scenario.gpu(0, power_w=100).gpu(1, power_w=50)
    child = start_child()
    child.message()
    windows(child, 2)
    scenario.set(gpu0__code__device=15)
    windows(child, 1)
    lost = windows(child, 2)
    assert total(lost, "GPU-0") == (0.0, 0.0)
    assert device(lost[-1], "GPU-0").latest_w is None
    assert "NVML 15" in device(lost[-1], "GPU-0").gap_reason
    assert total(lost, "GPU-1")[0] > 0


@pytest.mark.parametrize("code", [10, 27, 999])
def test_a_passing_error_is_asked_again_and_the_counter_makes_up_for_it(
    scenario: Any, start_child: Any, code: int
) -> None:
    scenario.gpu(0, power_w=100)
    child = start_child()
    child.message()
    before = windows(child, 2)
    scenario.set(gpu0__code__values=code)
    during = windows(child, 3)
    assert total(during[1:], "GPU-0") == (0.0, 0.0)
    assert f"NVML {code}" in device(during[-1], "GPU-0").gap_reason
    scenario.set(gpu0__code__values=None)
    after = windows(child, 3)
    energy_j, covered_s = total(before + during + after, "GPU-0")
    assert covered_s == pytest.approx(after[-1].end_s - before[0].start_s, abs=0.3)
    assert energy_j == pytest.approx(100 * covered_s, abs=25)
    assert any("bridged" in device(window, "GPU-0").gap_reason for window in after)


def test_a_counter_reset_is_noticed_and_never_negative(scenario: Any, start_child: Any) -> None:
    scenario.gpu(0, power_w=100, energy_j=50_000)
    child = start_child()
    child.message()
    found = windows(child, 2)
    scenario.gpu(0, power_w=100, energy_j=0)
    found += windows(child, 3)
    energy_j, covered_s = total(found, "GPU-0")
    assert energy_j == pytest.approx(100 * covered_s, abs=40)
    assert any("reset" in device(window, "GPU-0").gap_reason for window in found)
    assert all(device(window, "GPU-0").energy_j >= 0 for window in found)


def test_a_driver_that_goes_away_ends_the_sensor_with_a_farewell(scenario: Any, start_child: Any) -> None:
    scenario.gpu(0, power_w=100)
    child = start_child()
    child.message()
    windows(child, 1)
    scenario.set(gpu0__code__values=9)
    message = child.message()
    while isinstance(message, SensorWindow):
        message = child.message()
    assert isinstance(message, Farewell) and "NVML 9" in message.reason
    assert child.process.wait(20) == 1


def test_a_restarted_sensor_bridges_from_the_counter_it_is_told(scenario: Any, start_child: Any) -> None:
    scenario.gpu(0, power_w=100, energy_j=5000)
    began_s = time.monotonic()
    child = start_child(seeds={"GPU-0": Seed(began_s - 3.0, 4700.0)})
    child.message()
    (window,) = windows(child, 1)
    found = device(window, "GPU-0")
    assert found.covered_s == pytest.approx(found.taken_s - (began_s - 3.0))
    assert found.energy_j == pytest.approx(100 * found.covered_s, abs=25)
    assert "bridged" in found.gap_reason


def test_processes_have_sm_time_and_the_drivers_junk_entries_have_not(scenario: Any, start_child: Any) -> None:
    scenario.gpu(0, power_w=100, process=["11 1000 60", "12 3000 20"])
    child = start_child()
    child.message()
    uses = windows(child, 2)[1].uses["GPU-0"]
    assert uses is not None
    assert {(use.pid, use.memory_bytes, use.sm_ratio) for use in uses} == {(11, 1000, 0.6), (12, 3000, 0.2)}


def test_without_sm_time_it_is_unknown_and_not_zero(scenario: Any, start_child: Any) -> None:
    scenario.gpu(0, power_w=100, process=["11 1000 60"], code__utilization=UNSUPPORTED)
    child = start_child()
    child.message()
    (use,) = windows(child, 2)[1].uses["GPU-0"] or []
    assert (use.memory_bytes, use.sm_ratio) == (1000, None)


def test_two_mig_instances_are_told_apart_by_their_slices(scenario: Any, start_child: Any) -> None:
    scenario.gpu(0, power_w=100, mig=7, instance=["MIG-a 3", "MIG-b 2"], tenant=["0 11 100", "1 12 200"])
    child = start_child()
    child.message()
    uses = windows(child, 2)[1].uses["GPU-0"] or []
    found = sorted((use.pid, use.instance, round((use.slice_ratio or 0) * 7, 6)) for use in uses)
    assert found == [(11, "MIG-a", 3.0), (12, "MIG-b", 2.0)]


def test_the_sensor_ends_when_its_agent_is_gone(scenario: Any, start_child: Any) -> None:
    """Also while a driver call hangs, or every crash of an agent would leave a process behind."""
    scenario.gpu(0, power_w=100)
    child = start_child()
    child.message()
    windows(child, 1)
    scenario.set(gpu0__hang=1)
    child.process.stdin.close()
    assert child.process.wait(30) == 0
