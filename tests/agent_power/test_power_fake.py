"""The made-up GPUs of ``--fake``: real sensor process, real books; only the readings are a story, and say so."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.agent import gpus
from heliotrope.agent.power import fake_scenario
from heliotrope.agent.power.batch import DeviceEnergy, EnergyBatch
from heliotrope.agent.power.config import ModelConfig, PowerConfig
from heliotrope.agent.power.fake_scenario import SCENARIOS, FakeGpu
from heliotrope.agent.power.monitor import PowerMonitor
from heliotrope.foundation.clock import SystemClock
from heliotrope.foundation.errors import InvalidInput

Story = Callable[[str], "queue.Queue[EnergyBatch]"]


@pytest.fixture
def story(tmp_path: Any) -> Iterator[Story]:
    """Starts a monitor on a scenario's text; its batches."""
    monitors: list[PowerMonitor] = []

    def start(text: str) -> queue.Queue[EnergyBatch]:
        path = tmp_path / "story.toml"
        path.write_text(text)
        batches: queue.Queue[EnergyBatch] = queue.Queue()
        config = PowerConfig(batch_s=0.5, hang_s=1.0, fake=str(path), model=ModelConfig(idle_w=1.0, max_w=2.0))
        monitors.append(PowerMonitor(config, dict, SystemClock(), batches.put))
        monitors[-1].start()
        return batches

    yield start
    for monitor in monitors:
        monitor.stop()


def device(batches: queue.Queue[EnergyBatch], suits: Callable[[DeviceEnergy], bool]) -> DeviceEnergy:
    for _ in range(80):
        for found in batches.get(timeout=60).devices:
            assert found.device.startswith("FAKE-") and found.source == "fake" and found.estimated
            if suits(found):
                return found
    raise AssertionError("no batch of 80 suits")


STEADY = '[[gpus]]\nuuid = "FAKE-0"\nidle_w = 200.0\nbusy_w = 200.0\n'


def test_readings_say_that_they_are_fake_and_nothing_else_is_measured(story: Story) -> None:
    found = device(story(STEADY), lambda one: one.coverage_ratio == 1.0)
    assert found.mean_w == pytest.approx(200.0, rel=0.25)


def test_a_hang_costs_a_gap_and_the_counter_gives_the_joules_back(story: Story) -> None:
    batches = story("hangs = [{start_s = 3.0, end_s = 6.0}]\n" + STEADY)
    device(batches, lambda one: one.coverage_ratio == 0.0)
    assert device(batches, lambda one: "bridged" in one.gap_reason).energy_j > 200.0


def test_a_driver_reload_is_a_gap_and_soon_over(story: Story) -> None:
    batches = story("reloads = [{start_s = 3.0, end_s = 5.0}]\n" + STEADY)
    device(batches, lambda one: one.coverage_ratio == 0.0)
    device(batches, lambda one: one.coverage_ratio == 1.0)


def test_a_lost_gpu_leaves_the_other_measured(story: Story) -> None:
    lost = '[[gpus]]\nuuid = "FAKE-1"\nlost = [{start_s = 2.0, end_s = 900.0}]\n'
    batches = story(STEADY + lost)
    assert "fell off the bus" in device(batches, lambda one: one.coverage_ratio == 0.0).gap_reason
    device(batches, lambda one: one.device == "FAKE-0" and one.coverage_ratio == 1.0)


@given(
    at_s=st.floats(0, 1e5),
    span_s=st.floats(0.1, 100),
    idle_w=st.floats(0, 500),
    swing_w=st.floats(0, 500),
    period_s=st.floats(1, 1000),
)
def test_the_counter_is_the_integral_of_the_power(
    at_s: float, span_s: float, idle_w: float, swing_w: float, period_s: float
) -> None:
    gpu = FakeGpu(uuid="FAKE-0", idle_w=idle_w, busy_w=idle_w + swing_w, period_s=period_s)
    count = 2000
    mean_w = sum(gpu.power_at_w(at_s + span_s * (n + 0.5) / count) for n in range(count)) / count
    assert gpu.energy_j(at_s + span_s) - gpu.energy_j(at_s) == pytest.approx(mean_w * span_s, rel=1e-2, abs=1e-2)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_named_scenario_has_gpus_that_jobs_can_be_given(name: str) -> None:
    assert [gpu.uuid for gpu in gpus.made_up(name)] == [gpu.uuid for gpu in SCENARIOS[name].gpus]
    assert all("fake" in gpu.model for gpu in gpus.made_up(name))
    assert PowerConfig(fake=name).hardware == ("fake",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[gpus]]\nuuid = "GPU-0"\n', "uuid"),
        ('[[gpus]]\nuuid = "FAKE-0"\nmodel = "H100"\n', "model"),
        (STEADY + STEADY, "same uuid"),
        ("hangs = [{start_s = 3.0, end_s = 3.0}]\n" + STEADY, "end_s 3 is not after"),
        ('[[gpus]]\nuuid = "FAKE-0"\nbusy_w = 1.0\n', "busy_w 1 is below idle_w"),
        ("gpus = []", "gpus"),
    ],
)
def test_a_wrong_scenario_names_the_field(text: str, message: str, tmp_path: Any) -> None:
    path = tmp_path / "story.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=message):
        fake_scenario.load(str(path))


def test_an_unknown_scenario_names_those_that_are_known() -> None:
    with pytest.raises(InvalidInput, match="lost-gpu"):
        fake_scenario.load("nothing")
