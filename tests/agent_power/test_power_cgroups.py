"""CPU time by the kernel's own count for a job's control group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliotrope.agent.power.accumulator import Accumulator
from heliotrope.agent.power.cgroups import JobGroups
from heliotrope.agent.power.reading import Channel, Scope
from heliotrope.agent.power.tree_meter import TreeMeter
from heliotrope.agent.power.window import DeviceWindow, SensorWindow

HOST = Channel(device="rapl:package-0", source="rapl", scope=Scope.PACKAGE)


class Kernel:
    """A written /proc and /sys/fs/cgroup, for one process in one group."""

    def __init__(self, folder: Path, group: str) -> None:
        self.proc, self.cgroup = folder / "proc", folder / "cgroup"
        (self.proc / "7").mkdir(parents=True)
        (self.proc / "7" / "cgroup").write_text(f"4:memory:/x\n0::/heliotrope.slice/{group}\n")
        (self.proc / "7" / "stat").write_text("7 (x) S 1 7 7 0 -1 0 0 0 0 0 100 0 0 0 20 0 1 0 5 0 0\n")
        self._stat = self.cgroup / "heliotrope.slice" / group / "cpu.stat"
        self._stat.parent.mkdir(parents=True)
        self.use(10.0)

    def use(self, total_s: float) -> None:
        self._stat.write_text(f"usage_usec {round(total_s * 1e6)}\nuser_usec 1\n")


def test_a_jobs_group_is_counted_and_marked(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "heliotrope-job-j-1-1-0.service")
    meter = TreeMeter(
        lambda: {"job": [7]}, kernel.proc, counts_host=True, host_busy=lambda: 0.0, cgroup_root=kernel.cgroup
    )
    meter.scan(0.0)
    kernel.use(12.5)
    used_s = meter.scan(1.0)
    assert used_s["job"] == pytest.approx(2.5) and meter.grouped == {"job"}
    batch = Accumulator(0.0, 1.0)
    batch.add_cpu(used_s, meter.jobs, meter.grouped)
    device = DeviceWindow(
        device=HOST.device, source="rapl", scope=Scope.PACKAGE, estimated=False, energy_j=9.0, covered_s=1.0
    )
    batch.add_window(SensorWindow(start_s=0.0, end_s=1.0, devices=(device,)), lambda pid: "?")
    _, shares = batch.close({HOST.device: HOST}, idle_w={}, idle_rule="holder", holders={}, missing_reason="")
    assert [(share.job_id, share.rule, share.energy_j) for share in shares] == [("job", "cgroup", 9.0)]


@pytest.mark.parametrize("group", ["heliotrope-agent.service", "user@0.service"])
def test_a_group_that_is_not_the_jobs_own_is_not_taken(tmp_path: Path, group: str) -> None:
    kernel = Kernel(tmp_path, group)
    groups = JobGroups(kernel.proc, kernel.cgroup)
    groups.used_s({"job": [7]})
    kernel.use(12.5)
    assert groups.used_s({"job": [7]}) == {}


def test_a_group_that_ended_tells_nothing(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "heliotrope-job-j-1-1-0.service")
    groups = JobGroups(kernel.proc, kernel.cgroup)
    groups.used_s({"job": [7]})
    assert groups.used_s({"job": [8]}) == {}
    assert groups.used_s({"job": []}) == {}


@pytest.fixture
def real_group() -> Iterator[Path]:
    """A group of this machine's real hierarchy of version 2."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    root = next((Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"), None)
    if root is None or not os.access(root, os.W_OK):
        pytest.skip("no cgroup v2 hierarchy that this user may write to")
    group = root / f"heliotrope-job-test-{uuid.uuid4().hex}.service"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"the cgroup v2 hierarchy takes no group here: {error.strerror}")
    yield group
    for pid in (group / "cgroup.procs").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    deadline_s = time.monotonic() + 30
    while True:
        try:
            group.rmdir()
            return
        except OSError:  # busy until the last process is really gone
            assert time.monotonic() < deadline_s
            time.sleep(0.01)


def test_the_kernel_counts_a_child_that_nobody_waited_for(real_group: Path) -> None:
    """It left its parent's tree, and the group has it all the same."""
    leave = (
        "import os, time\nif os.fork(): time.sleep(600)\nwhile time.process_time() < 0.3: pass\nprint(1, flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", f"input(); exec({leave!r})"], stdin=-1, stdout=-1, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        (real_group / "cgroup.procs").write_text(str(process.pid))
        groups = JobGroups(Path("/proc"), real_group.parent)
        groups.used_s({"job": [process.pid]})
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "1\n"
        assert groups.used_s({"job": [process.pid]})["job"] >= 0.3
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
