"""What goes wrong around a move without a kill: each leaves one runner, a clear word, a bit-exact result."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import msgspec
import pytest
from fleet_driver import RUN_TIMEOUT_S, Operator, Runners, Truth, tiny_spec, two_nodes

from heliotrope.cli.demo.fleet import COORDINATOR, LocalFleet
from heliotrope.foundation.jobspec import CheckpointRules, JobSpec
from heliotrope.v1 import common_pb2, fleet_pb2_grpc
from heliotrope.v1 import operator_pb2 as pb

ARGUMENTS = ("--steps", "60", "--step-s", "0.05", "--state-kb", "64")
FINISHED = common_pb2.JobState.JOB_STATE_FINISHED
FAILED = common_pb2.JobState.JOB_STATE_FAILED
RUNNING = common_pb2.JobState.JOB_STATE_RUNNING


@contextmanager
def running(fleet: LocalFleet, spec: JobSpec, step: int = 5) -> Iterator[tuple[Operator, Runners]]:
    """The fleet up, the job at ``step``."""
    with fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.nodes_connected()
        with Runners(operator.submit(spec)) as runners:
            operator.reached(step)
            yield operator, runners


def test_a_job_that_ends_by_itself_during_a_move(folder: Path, truth: Truth) -> None:
    with running(two_nodes(folder), tiny_spec(*ARGUMENTS, "--finish-on-request")) as (operator, runners):
        migration_id = operator.move("b")
        job = operator.ended()
        assert job.state == FINISHED, operator.story()
        assert operator.migration_ended(migration_id) == "ABORTED"
        assert "by itself" in operator.migration(migration_id).message
        assert (job.node_id, runners.most) == ("a", 1)
        assert operator.digest() == truth(ARGUMENTS)


def test_a_job_that_ignores_its_request_runs_on(folder: Path, truth: Truth) -> None:
    spec = tiny_spec("--steps", "120", "--step-s", "0.05", "--state-kb", "64", "--ignore-requests")
    spec = _with_timeout(spec, 1.0)
    with running(two_nodes(folder), spec) as (operator, runners):
        migration_id = operator.move("b")
        assert operator.migration_ended(migration_id) == "ABORTED"
        message = operator.migration(migration_id).message
        assert "no answer to request" in message
        job = operator.ended()
        assert (job.state, job.node_id, job.epoch, runners.most) == (FINISHED, "a", 1, 1), operator.story()
        assert operator.digest() == truth(("--steps", "120", "--step-s", "0.05", "--state-kb", "64"))


def test_a_job_that_was_asked_to_stop_in_vain_is_heard_of_again(folder: Path) -> None:
    """It runs on under the attempt it was: its progress and its end still count."""
    spec = _with_timeout(tiny_spec("--steps", "80", *ARGUMENTS[2:], "--ignore-requests"), 0.5)
    with running(two_nodes(folder), spec) as (operator, _):
        operator.stub.PauseJob(pb.ChangeJobRequest(job="tiny"))
        pause = operator.until(lambda: _open_migration(operator, common_pb2.MIGRATION_KIND_PAUSE), "the pause")
        assert operator.migration_ended(pause) == "ABORTED"
        step = operator.job().progress.step
        operator.reached(step + 5)
        job = operator.ended()
        assert (job.state, job.epoch) == (FINISHED, 1), operator.story()


def _open_migration(operator: Operator, kind: int) -> str | None:
    found = operator.stub.ListMigrations(pb.ListMigrationsRequest(), timeout=5).migrations
    return next((str(one.migration_id) for one in found if one.kind == kind), None)


@pytest.mark.slow
def test_a_checkpoint_that_never_appears(folder: Path) -> None:
    spec = _with_timeout(tiny_spec(*ARGUMENTS, "--never-checkpoint"), 1.0)
    with running(two_nodes(folder), spec) as (operator, _):
        migration_id = operator.move("b")
        assert operator.migration_ended(migration_id) == "ABORTED"
        assert "checkpoint" in operator.migration(migration_id).message
        assert operator.ended().state == FINISHED, operator.story()


def test_a_full_disk_at_the_destination(folder: Path, truth: Truth) -> None:
    disk = folder / "b"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk needs the right to mount: {mounted.stderr.decode().strip()}")
    try:
        arguments = ("--steps", "30", "--step-s", "0.05", "--state-kb", "12288")
        with running(two_nodes(folder), tiny_spec(*arguments), step=2) as (operator, runners):
            migration_id = operator.move("b")
            assert operator.migration_ended(migration_id) == "ABORTED"
            message = operator.migration(migration_id).message
            assert "disk" in message or "space" in message
            job = operator.ended()
            assert (job.state, job.node_id, runners.most) == (FINISHED, "a", 1), operator.story()
            assert operator.digest() == truth(arguments)
            # Nothing half-done stays.
            assert not list(disk.glob("jobs/*/received/*")), list(disk.rglob("*"))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_destination_that_cannot_start_the_job(folder: Path, truth: Truth) -> None:
    """After the point of no return: the destination is fenced and the source goes on from the same checkpoint."""
    python = shlex.quote(sys.executable)
    here = f'case "$PWD" in */b/*) echo "not on this node" >&2; exit 3;; esac; exec {python} tiny_job.py "$@"'
    spec = tiny_spec(*ARGUMENTS)
    spec = _replace(spec, command=("sh", "-c", here, "tiny", *ARGUMENTS))
    with running(two_nodes(folder), spec) as (operator, runners):
        migration_id = operator.move("b")
        assert operator.migration_ended(migration_id) == "RECOVERED", operator.story()
        job = operator.ended()
        assert (job.state, job.node_id, job.epoch, runners.most) == (FINISHED, "a", 3, 1), operator.story()
        assert operator.digest() == truth(ARGUMENTS)


@pytest.mark.parametrize("point", ["", "saga.failed.persist", "saga.failed.persisted"])
def test_a_job_that_starts_nowhere_is_given_up_and_its_checkpoint_kept(folder: Path, point: str) -> None:
    """Also when the coordinator dies as it gives up."""
    never_again = f'[ -z "$HELIOTROPE_RESUME_FROM" ] || exit 3; exec {shlex.quote(sys.executable)} tiny_job.py "$@"'
    spec = _replace(tiny_spec(*ARGUMENTS), command=("sh", "-c", never_again, "tiny", *ARGUMENTS))
    with two_nodes(folder) as fleet:
        fleet.start(COORDINATOR, failpoint=f"{point}=kill" if point else "")
        fleet.start("a")
        fleet.start("b")
        operator = Operator(fleet)
        operator.nodes_connected()
        with Runners(operator.submit(spec)) as runners:
            operator.reached(5)
            operator.move("b")
            if point:
                operator.until(lambda: None if fleet.running(COORDINATOR) else True, f"the death at {point}")
                fleet.start(COORDINATOR)
            job = operator.ended()
            assert (job.state, job.fault, job.node_id) == (FAILED, "job", ""), operator.story()
            assert "given up after 3 failed starts" in job.message
            assert runners._alive() == []
            assert runners.most == 1
        assert job.checkpoint.step >= 5, "the checkpoint is kept"
        assert list((folder / "a").glob("pins/*")), "and so are its files"


def test_an_agent_that_restarts_finds_its_job_again(folder: Path, truth: Truth) -> None:
    with two_nodes(folder) as fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.nodes_connected()
        with Runners(operator.submit(tiny_spec(*ARGUMENTS))) as runners:
            operator.reached(5)
            fleet.kill("a")
            before = _pid_of_job(folder)
            fleet.start("a")
            operator.reached(20)
            assert _pid_of_job(folder) == before, "the job was started again instead of adopted"
            job = operator.ended()
        assert (job.state, job.epoch, job.exit_code, runners.most) == (FINISHED, 1, 0, 1), operator.story()
        assert operator.digest() == truth(ARGUMENTS)


def test_a_coordinator_away_for_longer_than_the_lease(folder: Path, truth: Truth) -> None:
    """disconnect = "stop": the holder stops by itself; whoever comes back goes on from the newest checkpoint."""
    arguments = (*ARGUMENTS[:1], "200", *ARGUMENTS[2:], "--checkpoint-every", "10")
    spec = tiny_spec(*arguments, disconnect="stop", lease_s=4.0, grace_s=0.5)
    with two_nodes(folder, saga={"lease_margin_s": 1.0}) as fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.nodes_connected()
        with Runners(operator.submit(spec)) as runners:
            operator.reached(15)
            fleet.kill(COORDINATOR)
            operator.until(lambda: True if not runners._alive() else None, "the holder's own stop", 20)
            fleet.start(COORDINATOR)
            job = operator.ended()
        assert (job.state, runners.most) == (FINISHED, 1), operator.story()
        assert job.epoch > 1, "it was never stopped"
        assert operator.digest() == truth(arguments)


def test_a_job_that_fails_is_restarted_and_then_given_up(folder: Path) -> None:
    spec = tiny_spec(*ARGUMENTS, "--exit-at", "8", "--exit-code", "7", restart_limit=1)
    with two_nodes(folder) as fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.nodes_connected()
        operator.submit(spec)
        job = operator.ended()
        assert job.state == FAILED
        assert (job.fault, job.exit_code, job.restart_count) == ("job", 7, 1), operator.story()
        assert "restart_limit" in job.message


@pytest.mark.slow
def test_checkpoints_are_asked_for_at_the_interval_and_pruned(folder: Path) -> None:
    spec = tiny_spec("--steps", "150", *ARGUMENTS[2:])
    spec = _replace(spec, checkpoint=CheckpointRules(timeout_s=15.0, interval_s=1.0, keep_count=2))
    with running(two_nodes(folder), spec) as (operator, _):
        operator.until(lambda: True if operator.job().checkpoint.sequence >= 3 else None, "a third checkpoint")
        pins = list((folder / "a" / "pins").iterdir())
        assert 1 <= len(pins) <= 3, "older checkpoints are let go"
        assert operator.ended().state == FINISHED


@pytest.mark.slow
def test_an_ended_jobs_files_leave_its_node_after_the_retention(folder: Path) -> None:
    with running(two_nodes(folder, saga={"finished_retention_s": 3.0}), tiny_spec(*ARGUMENTS)) as (operator, _):
        assert operator.ended().state == FINISHED
        assert operator.fetch()
        operator.until(lambda: True if not list((folder / "a" / "jobs").iterdir()) else None, "the clearing", 30)
        assert operator.job().state == FINISHED
        with pytest.raises(grpc.RpcError) as gone:
            list(operator.stub.FetchOutputs(pb.FetchOutputsRequest(job="tiny"), timeout=30))
        assert "was released" in str(gone.value.details())


def test_pause_resume_and_cancel(folder: Path, truth: Truth) -> None:
    with running(two_nodes(folder), tiny_spec(*ARGUMENTS)) as (operator, runners):
        paused = common_pb2.JobState.JOB_STATE_PAUSED
        operator.stub.PauseJob(pb.ChangeJobRequest(request_id="1", job="tiny"))
        operator.until(lambda: True if operator.job().state == paused else None, "the pause")
        step = operator.job().checkpoint.step
        assert step >= 5
        assert runners._alive() == []
        operator.stub.ResumeJob(pb.ChangeJobRequest(request_id="2", job="tiny"))
        operator.reached(step + 1)
        assert operator.ended().state == FINISHED, operator.story()
        assert operator.digest() == truth(ARGUMENTS)
        other = operator.submit(_replace(tiny_spec("--steps", "10000", "--step-s", "0.05"), name="other"))
        operator.reached(3, other)
        operator.stub.CancelJob(pb.ChangeJobRequest(request_id="3", job=other))
        job = operator.ended(other)
        assert (job.state, job.fault) == (FAILED, "operator")
        assert "cancelled" in job.message


@pytest.mark.slow
def test_a_drained_node_is_emptied(folder: Path, truth: Truth) -> None:
    fleet = two_nodes(folder)
    config = json.loads((folder / "coordinator.json").read_text())
    config["planner"] = {"interval_s": 0.5, "dwell_s": 0.0}
    (folder / "coordinator.json").write_text(json.dumps(config))
    with running(fleet, tiny_spec("--steps", "100", *ARGUMENTS[2:], "--checkpoint-every", "5")) as (operator, runners):
        node = operator.stub.DrainNode(pb.DrainNodeRequest(node_id="a", enable=True, message="new disk"))
        assert (node.draining, node.drain_message) == (True, "new disk")
        operator.until(lambda: True if operator.job().node_id == "b" else None, "the drain")
        assert operator.ended().state == FINISHED
        assert runners.most == 1
        assert operator.digest() == truth(("--steps", "100", *ARGUMENTS[2:], "--checkpoint-every", "5"))
        decision = operator.stub.GetDecision(pb.GetDecisionRequest(decision_id="tiny"))
        assert decision.text


def test_an_agents_stranger_and_a_second_agent_are_refused(folder: Path) -> None:
    """An operator's certificate cannot open a session, and one state folder has one agent."""
    with two_nodes(folder) as fleet:
        fleet.start_all()
        with fleet.channel() as channel:
            call = fleet_pb2_grpc.FleetServiceStub(channel).Session(iter(()))
            with pytest.raises(grpc.RpcError) as refused:
                next(call)
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
        command = [sys.executable, "-m", "heliotrope.cli", "agent", "--config", str(folder / "a.json")]
        second = subprocess.run(command, check=False, capture_output=True, timeout=60, env={**os.environ})
        assert second.returncode == 4
        assert b"another one uses" in second.stderr


def test_outputs_and_logs_follow_the_job(folder: Path) -> None:
    script = b"import sys, time\nprint('out: hello', flush=True)\nprint('err: hello', file=sys.stderr, flush=True)\n"
    spec = JobSpec(name="tiny", command=(sys.executable, "hello.py"), outputs=("hello.py",))
    with two_nodes(folder) as fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.submit(spec, {"hello.py": script})
        assert operator.ended().state == FINISHED, operator.story()
        assert operator.fetch("hello.py") == script
        pieces = _logs_until(operator, b"err: hello\n")
        assert pieces[common_pb2.LogStream.LOG_STREAM_STDOUT] == b"out: hello\n"
        with pytest.raises(grpc.RpcError) as missing:
            list(operator.stub.FetchOutputs(pb.FetchOutputsRequest(job="tiny", paths=["nothing.txt"])))
        assert missing.value.code() == grpc.StatusCode.NOT_FOUND
        assert "nothing.txt" in str(missing.value.details())


def _logs_until(operator: Operator, text: bytes) -> dict[int, bytes]:
    def read() -> dict[int, bytes] | None:
        pieces: dict[int, bytes] = {}
        for chunk in operator.stub.WatchLogs(pb.WatchLogsRequest(job="tiny"), timeout=5):
            pieces[chunk.stream] = pieces.get(chunk.stream, b"") + chunk.data
        return pieces if text in b"".join(pieces.values()) else None

    return operator.until(read, "the job's output", RUN_TIMEOUT_S / 3)


def _pid_of_job(folder: Path) -> int:
    (status,) = folder.glob("a/jobs/*/runs/1-0/status.json")
    return int(json.loads(status.read_text())["job_pid"])


def _with_timeout(spec: JobSpec, timeout_s: float) -> JobSpec:
    return _replace(spec, checkpoint=CheckpointRules(timeout_s=timeout_s))


def _replace(spec: JobSpec, **changes: object) -> JobSpec:
    return msgspec.structs.replace(spec, **changes)
