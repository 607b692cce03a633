"""The command line that starts a job's service: what is in it for which job, without starting anything."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.agent.jobs import devices, systemd_launcher
from heliotrope.agent.jobs.launcher import DetachedLauncher
from heliotrope.agent.jobs.request import RunRequest
from heliotrope.agent.jobs.systemd_launcher import SystemdLauncher
from heliotrope.foundation.errors import Denied

SYSTEMD = Path("/run/systemd/system").is_dir()
GPUS = {"GPU-5fd4f087-0000-0000-0000-000000000001": 3, "GPU-5fd4f087-0000-0000-0000-000000000002": 0}


def request(**fields: Any) -> RunRequest:
    usual: dict[str, Any] = {"run_dir": "/s/jobs/j-1/runs/4-2", "user": "nobody"}
    paths = {"working_dir": "/s/jobs/j-1/work", "checkpoint_dir": "/s/jobs/j-1/work/checkpoints"}
    return RunRequest(**{"job_id": "j-1", "epoch": 4, "attempt": 2, "command": ("true",), **paths, **usual, **fields})


def properties(command: tuple[str, ...]) -> dict[str, list[str]]:
    """Property -> values, as given."""
    found: dict[str, list[str]] = {}
    for word in command[: command.index("--")]:
        if word.startswith("--property="):
            name, _, value = word.removeprefix("--property=").partition("=")
            found.setdefault(name, []).append(value)
    return found


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    """/proc as NVIDIA's driver makes it: one `information` file per GPU (as of driver 550)."""
    for index, (uuid, minor) in enumerate(GPUS.items()):
        folder = tmp_path / "driver" / "nvidia" / "gpus" / f"0000:{index:02x}:00.0"
        folder.mkdir(parents=True)
        text = f"Model: \t\t NVIDIA H100 80GB HBM3\nGPU UUID: \t {uuid}\nBus Type: \t PCIe\nDevice Minor: \t {minor}\n"
        (folder / "information").write_text(text)
    return tmp_path


def test_limits_are_those_of_the_job() -> None:
    asked = request(memory_bytes=5, cpu_count=3, task_count_limit=7, grace_s=12.0)
    assert set(systemd_launcher.limits(asked)) == {"MemoryMax=5", "CPUWeight=300", "TasksMax=7", "TimeoutStopSec=42s"}
    assert set(systemd_launcher.limits(request(grace_s=0.0))) == {"TimeoutStopSec=30s"}


@given(st.integers(1, 100_000), st.floats(0, 1e6))
def test_limits_stay_within_what_systemd_takes(cpu_count: int, grace_s: float) -> None:
    """CPUWeight is 1 to 10000; systemd's own SIGKILL never comes before the supervisor's."""
    values = dict(each.split("=") for each in systemd_launcher.limits(request(cpu_count=cpu_count, grace_s=grace_s)))
    assert 1 <= int(values["CPUWeight"]) <= 10_000
    assert int(values["TimeoutStopSec"].removesuffix("s")) > grace_s + 15


def test_the_service_is_the_runs_own() -> None:
    command = SystemdLauncher("/py").command(request())
    assert "--unit=heliotrope-job-j-1-4-2.service" in command
    assert command[command.index("--") + 1] == "/py" and command[-1] == "/s/jobs/j-1/runs/4-2"
    assert properties(command)["KillMode"] == ["mixed"]
    assert properties(command)["StandardError"] == ["append:/s/jobs/j-1/runs/4-2/supervisor.log"]


def test_a_dollar_in_a_path_is_no_variable() -> None:
    assert SystemdLauncher().command(request(run_dir="/s/$HOME/1-0"))[-1] == "/s/$$HOME/1-0"


def test_nothing_of_the_environment_is_in_the_command_line() -> None:
    """Everyone on the node reads command lines; a job's secrets travel in run.json, mode 0600."""
    command = SystemdLauncher().command(request(environment={"TOKEN": "hush"}))
    assert not [word for word in command if "hush" in word or "TOKEN" in word]


def test_a_job_gets_its_gpus_nodes(driver: Path) -> None:
    uuid = next(iter(GPUS))
    rules = devices.rules([uuid], driver)
    assert rules[0] == f"/dev/nvidia{GPUS[uuid]} rw"
    assert "/dev/nvidiactl rw" in rules and "/dev/nvidia0 rw" not in rules


@pytest.mark.parametrize("uuids", [["MIG-5fd4f087"], [*GPUS, "GPU-unknown"]])
def test_what_the_driver_does_not_list_opens_all_of_its_nodes(driver: Path, uuids: list[str]) -> None:
    assert devices.rules(uuids, driver) == ("char-nvidia* rw",)


def test_a_job_without_a_gpu_gets_no_node(driver: Path) -> None:
    assert devices.rules([], driver) == ()
    assert "DeviceAllow" not in properties(SystemdLauncher().command(request()))


def test_of_the_folders_of_all_jobs_one_sees_its_own() -> None:
    launcher = SystemdLauncher(hidden=(Path("/s/jobs"), Path("/s/my pins")))
    given = properties(launcher.command(request(resume_from='/s/my pins/p-1/x" /etc"')))
    assert given["TemporaryFileSystem"] == ["/s/jobs:mode=0711", '"/s/my pins":mode=0711']
    assert given["BindPaths"] == ["/s/jobs/j-1"]
    assert given["BindReadOnlyPaths"] == ['"/s/my pins/p-1"']
    beside = properties(
        launcher.command(request(run_dir="/s/jobs/j-1/prepare", resume_from="/s/jobs/j-1/received/1-2"))
    )
    assert beside["BindPaths"] == ["/s/jobs/j-1"] and "BindReadOnlyPaths" not in beside


def test_extra_devices_are_for_every_job() -> None:
    command = SystemdLauncher(extra_devices=("/dev/fuse",)).command(request())
    assert properties(command)["DeviceAllow"] == ["/dev/fuse rw"]


@pytest.mark.parametrize("user", ["root", ""])
def test_root_is_refused_before_anything_starts(user: str) -> None:
    if user == "" and os.geteuid() != 0:
        pytest.skip("an empty user is the agent's own, who is root only where this test is")
    with pytest.raises(Denied, match="would run as root"):
        asyncio.run(SystemdLauncher().start(request(user=user, allow_same_user=True)))


@pytest.mark.parametrize("environment", [{}, {"SYSTEMD_EXEC_PID": "1"}, {"INVOCATION_ID": "x"}])
def test_auto_is_detached_for_what_a_person_started(environment: dict[str, str]) -> None:
    """A shell inherits the variables of the service that it came from; the pid in them is not its child's."""
    assert isinstance(systemd_launcher.choose("auto", (), environment), DetachedLauncher)


@pytest.mark.skipif(not SYSTEMD or os.geteuid() != 0, reason="needs root on a machine that systemd runs")
def test_auto_is_systemd_for_what_systemd_started() -> None:
    environment = {"SYSTEMD_EXEC_PID": str(os.getpid())}
    assert isinstance(systemd_launcher.choose("auto", (), environment), SystemdLauncher)


@pytest.mark.skipif(SYSTEMD and os.geteuid() == 0, reason="here it can be had")
def test_what_cannot_be_had_is_said() -> None:
    with pytest.raises(Denied, match=r"field jobs\.launcher: .*detached"):
        systemd_launcher.choose("systemd", (), {})
