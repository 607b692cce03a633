"""The whole way with jobs of another account: placed, moved, started again where it is, finished, fetched."""

from __future__ import annotations

import pwd
import signal
from pathlib import Path

import msgspec
import psutil
from fleet_driver import Operator, Truth, tiny_spec, two_nodes

from heliotrope.foundation.jobspec import CheckpointRules
from heliotrope.v1 import common_pb2

from .conftest import STRANGER

ARGUMENTS = ("--steps", "150", "--step-s", "0.05", "--state-kb", "64")
JOBS = {"user": STRANGER, "allow_same_user": False}
FINISHED = common_pb2.JobState.JOB_STATE_FINISHED


def test_a_job_of_another_account_restarts_moves_and_finishes(folder: Path, stranger_python: str, truth: Truth) -> None:
    uid = pwd.getpwnam(STRANGER).pw_uid
    spec = tiny_spec(*ARGUMENTS)
    spec = msgspec.structs.replace(
        spec, command=(stranger_python, *spec.command[1:]), checkpoint=CheckpointRules(timeout_s=15.0, interval_s=0.5)
    )
    with two_nodes(folder, jobs=JOBS) as fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.nodes_connected()
        job_id = operator.submit(spec)
        operator.reached(10)
        assert {process.uids().real for process in _processes(job_id)} == {uid}
        assert _owners(fleet.folder / "a" / "jobs" / job_id / "work") == {uid}
        # It fails where it is, having made a checkpoint there, and goes on from that under its own account.
        operator.until(lambda: list((fleet.folder / "a" / "pins").iterdir()) or None, "a checkpoint's registration")
        failed = operator.job().restart_count
        for process in _processes(job_id):
            process.send_signal(signal.SIGKILL)
        operator.until(lambda: True if operator.job().restart_count > failed else None, "another attempt")
        operator.reached(15)
        assert operator.migration_ended(operator.move("b")) == "COMMITTED"
        for received in (fleet.folder / "b" / "jobs" / job_id / "received").iterdir():
            assert _owners(received) == {uid}
        job = operator.ended()
        assert (job.state, job.node_id) == (FINISHED, "b"), operator.story()
        assert operator.digest() == truth(ARGUMENTS)


def _owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in (folder, *folder.rglob("*"))}


def _processes(job_id: str) -> list[psutil.Process]:
    mark = f"HELIOTROPE_JOB_ID={job_id}".encode()
    return [process for process in psutil.process_iter() if mark in _environment(process.pid)]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def test_a_user_that_the_node_does_not_allow_is_not_placed(folder: Path, stranger_python: str) -> None:
    with two_nodes(folder, jobs=JOBS) as fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.nodes_connected()
        refused = msgspec.structs.replace(tiny_spec(), command=("true",), user="root")
        job_id = operator.submit(refused)

        def told() -> str | None:
            text = fleet.tail("a", 200) + fleet.tail("b", 200)
            return text if "jobs.users_allowed" in text else None

        operator.until(told, "the refusal")
        assert common_pb2.JobState.Name(operator.job().state) not in ("JOB_STATE_RUNNING", "JOB_STATE_FINISHED")
        assert not list(fleet.folder.glob(f"*/jobs/{job_id}/runs/*"))
