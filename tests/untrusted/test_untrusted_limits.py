"""Jobs that take more than they asked for: ended by the agent, by their own fault, the limit named."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import pytest
from fleet_driver import Operator, tiny_spec, two_nodes

from heliotrope.agent import limits
from heliotrope.foundation.jobspec import CheckpointRules, JobSpec, Resources
from heliotrope.v1 import common_pb2
from heliotrope.v1 import operator_pb2 as pb

FAILED = common_pb2.JobState.JOB_STATE_FAILED
MIB = 1024**2
# Takes requests while it fills the disk, and saves what it has.
FILLER = """
import os, time
import heliotrope.job as heliotrope_job
job = heliotrope_job.connect()
with open("rubbish", "wb") as file:
    for step in range(1, 100_000):
        file.write(os.urandom(64 * 1024) if step < 100 else b"")
        file.flush()
        job.report(step=step)
        if job.checkpoint_due():
            with job.checkpoint(step) as folder:
                (folder / "saved").write_text("yes")
            job.exit_if_stopped()
        time.sleep(0.01)
"""
HOG = "import time; held = bytearray(b'x') * (300 * 1024 * 1024); time.sleep(600)"
THREADS = """
import threading, time
for _ in range(60):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
time.sleep(600)
"""


def limited(name: str, program: str, *, disk_bytes: int = 0, memory_bytes: int = 0) -> JobSpec:
    spec = tiny_spec(restart_limit=0, grace_s=2.0)
    return msgspec.structs.replace(
        spec,
        name=name,
        command=(sys.executable, "-c", program),
        resources=Resources(disk_bytes=disk_bytes, memory_bytes=memory_bytes),
        checkpoint=CheckpointRules(timeout_s=10.0),
    )


def test_each_limit_ends_its_job_and_no_other(folder: Path) -> None:
    with two_nodes(folder, jobs={"limits_poll_s": 0.2, "slot_count": 4, "task_count_limit": 50}) as fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.nodes_connected()
        wanted = {
            "disk": (limited("disk", FILLER, disk_bytes=3 * MIB), "resources.disk_bytes = 3145728"),
            "memory": (limited("memory", HOG, memory_bytes=150 * MIB), "resources.memory_bytes = 157286400"),
            "tasks": (limited("tasks", THREADS), "task_count_limit = 50"),
            "modest": (limited("modest", FILLER, disk_bytes=100 * MIB, memory_bytes=1024 * MIB), ""),
        }
        ids = {name: operator.submit(spec, {}) for name, (spec, _) in wanted.items()}
        for name, (_, text) in wanted.items():
            if not text:
                continue
            job = operator.ended(name)
            assert (job.state, job.fault) == (FAILED, "job"), f"{job.message}\n{operator.story()}"
            assert text in job.message
        saved = list((fleet.folder / "a" / "jobs" / ids["disk"] / "work" / "checkpoints").glob("step-*/saved"))
        assert saved, "no last checkpoint was asked for"
        assert operator.job("modest").restart_count == 0
        operator.reached(operator.job("modest").progress.step + 1, "modest")
        operator.stub.CancelJob(pb.ChangeJobRequest(request_id="x", job="modest"), timeout=5)


def test_disk_is_counted_once_and_inside(tmp_path: Path) -> None:
    work, outside = tmp_path / "work", tmp_path / "outside"
    work.mkdir()
    outside.mkdir()
    (outside / "large").write_bytes(os.urandom(8 * MIB))
    (work / "link").symlink_to(outside)
    (work / "one").write_bytes(os.urandom(MIB))
    (work / "two").hardlink_to(work / "one")
    with (work / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert MIB <= limits.disk_bytes(work) < MIB + 256 * 1024


@pytest.mark.parametrize("count", [3, 200])
def test_an_account_cannot_make_more_processes(folder: Path, stranger_python: str, count: int) -> None:
    """Without systemd: by the kernel, not by a look that a fork bomb is quicker than."""
    fork = "if os.fork() == 0:\n        time.sleep(20)"
    program = f"import os, time\nfor _ in range({count}):\n    {fork}\n"
    spec = msgspec.structs.replace(limited("bomb", program), command=(stranger_python, "-c", program))
    jobs = {"user": "nobody", "allow_same_user": False, "task_count_limit": 60, "limits_poll_s": 600.0}
    with two_nodes(folder, jobs=jobs) as fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.nodes_connected()
        job_id = operator.submit(spec, {})
        job = operator.ended("bomb")
        errors = b"".join(path.read_bytes() for path in fleet.folder.glob(f"a/jobs/{job_id}/runs/*/stderr*"))
        assert (job.state == FAILED, b"BlockingIOError" in errors) == (count > 60, count > 60), errors[-500:]
