"""Drivers given back for an upgrade: asked for by a file, shown as a gap, taken again in time, over restarts too."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from heliotrope.agent import releasing
from heliotrope.agent.only_one import only_one
from heliotrope.agent.power.batch import DeviceEnergy, EnergyBatch
from heliotrope.agent.power.config import PowerConfig
from heliotrope.agent.power.monitor import PowerMonitor
from heliotrope.agent.power.release import DriverRelease, Note
from heliotrope.foundation import records
from heliotrope.foundation.clock import SystemClock, boot_id
from heliotrope.foundation.errors import Conflict, DeadlineExceeded

RELEASED = "the drivers are released"


class Node:
    """A monitor over a state folder, and its batches."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.batches: queue.Queue[EnergyBatch] = queue.Queue()
        self.start()

    def start(self) -> None:
        release = DriverRelease(self.state_dir, SystemClock())
        self.monitor = PowerMonitor(PowerConfig(batch_s=0.5), dict, SystemClock(), self.batches.put, release=release)
        self.monitor.start()

    def device(self, suits: Callable[[DeviceEnergy], bool]) -> DeviceEnergy:
        for _ in range(60):
            for device in self.batches.get(timeout=60).devices:
                if suits(device):
                    return device
        raise AssertionError("no batch of 60 suits")


@pytest.fixture
def node(tmp_path: Path, scenario: Any) -> Iterator[Node]:
    scenario.gpu(0, power_w=100)
    node = Node(tmp_path)
    yield node
    node.monitor.stop()


def whole(device: DeviceEnergy) -> bool:
    return device.coverage_ratio == 1.0


def gap(device: DeviceEnergy) -> bool:
    return device.coverage_ratio == 0.0 and device.gap_reason == RELEASED


def test_it_returns_when_the_driver_is_closed_and_the_time_is_a_gap_until_it_is_taken_again(node: Node) -> None:
    node.device(whole)
    with only_one(node.state_dir):  # as the agent around this monitor
        assert releasing.release_driver(node.state_dir, 600.0).agent_runs
    assert node.monitor.problems == (RELEASED,)
    assert node.device(gap).energy_j == 0.0
    assert releasing.retake_driver(node.state_dir)
    again = node.device(lambda device: device.energy_j > 0)
    assert "bridged by the energy counter" in again.gap_reason
    node.device(whole)
    assert not node.monitor.problems
    assert not releasing.retake_driver(node.state_dir)


def test_the_driver_is_taken_again_by_itself_when_the_time_is_over(node: Node) -> None:
    node.device(whole)
    DriverRelease(node.state_dir, SystemClock()).begin(3.0)
    node.device(gap)
    node.device(whole)


def test_an_agent_that_starts_during_an_upgrade_leaves_the_driver_closed(node: Node) -> None:
    node.device(whole)
    DriverRelease(node.state_dir, SystemClock()).begin(600.0)
    node.device(gap)
    node.monitor.stop()
    node.batches = queue.Queue()
    node.start()
    with only_one(node.state_dir):
        assert releasing.release_driver(node.state_dir, 600.0).agent_runs
    assert RELEASED in node.monitor.problems
    releasing.retake_driver(node.state_dir)
    node.device(whole)


def test_without_an_agent_the_note_waits_for_the_next_one(tmp_path: Path) -> None:
    assert not releasing.release_driver(tmp_path, 600.0).agent_runs
    assert 590 < DriverRelease(tmp_path, SystemClock()).left_s() <= 600


def test_an_agent_that_does_not_answer_is_an_error_and_no_note_stays(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(DeadlineExceeded, match="did not close them"):
        releasing.release_driver(tmp_path, 600.0, wait_s=0.2)
    assert DriverRelease(tmp_path, SystemClock()).left_s() == 0.0


def test_a_boot_ends_it_and_rubbish_does_not_hold_the_driver(tmp_path: Path) -> None:
    release = DriverRelease(tmp_path, SystemClock())
    note = Note(release_id="r", boot_id="another", until_boottime_s=SystemClock().boottime_s() + 600)
    records.save(tmp_path / "driver-release.json", note)
    assert release.left_s() == 0.0
    records.write_durably(tmp_path / "driver-release.json", b"{")
    assert release.left_s() == 0.0
    assert boot_id() != "another"


def test_power_caps_in_force_are_named() -> None:
    with pytest.raises(Conflict, match=r"GPU-0.*heliotrope node uncap"):
        releasing.refuse_caps(["GPU-0"])
