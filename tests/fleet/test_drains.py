"""Nodes taken out of service, with real fleets: each mode, the deadline, a restart in the middle, a change of mind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from fleet_driver import Operator, Runners, Truth, tiny_spec, two_nodes

from heliotrope.cli.demo.fleet import COORDINATOR, LocalFleet
from heliotrope.foundation.jobspec import CheckpointRules, JobSpec
from heliotrope.v1 import common_pb2
from heliotrope.v1 import operator_pb2 as pb

STEPS = ("--steps", "200", "--step-s", "0.05", "--state-kb", "64")
LONG = ("--steps", "240", "--step-s", "0.05", "--state-kb", "64")
ENDLESS = ("--steps", "100000", "--step-s", "0.05", "--state-kb", "64")
RUNNING = common_pb2.JobState.JOB_STATE_RUNNING
PAUSED = common_pb2.JobState.JOB_STATE_PAUSED
FINISHED = common_pb2.JobState.JOB_STATE_FINISHED


@contextmanager
def running(fleet: LocalFleet, spec: JobSpec, nodes: Sequence[str] = ("a", "b")) -> Iterator[tuple[Operator, Runners]]:
    """The coordinator and these nodes up, the job at work at ``a``."""
    with fleet:
        fleet.start(COORDINATOR)
        for node in nodes:
            fleet.start(node)
        operator = Operator(fleet)
        with Runners(operator.submit(spec)) as runners:
            operator.reached(5)
            yield operator, runners


def drain(operator: Operator, node: str, mode: str = "MIGRATE", deadline_s: float = 0.0, **fields: Any) -> pb.Node:
    request = pb.DrainNodeRequest(node_id=node, enable=True, mode=f"DRAIN_MODE_{mode}", **fields)
    if deadline_s:
        request.deadline.FromMilliseconds(round(deadline_s * 1000))
    found: pb.Node = operator.stub.DrainNode(request, timeout=5)
    return found


def undrain(operator: Operator, node: str) -> pb.Node:
    found: pb.Node = operator.stub.DrainNode(pb.DrainNodeRequest(node_id=node), timeout=5)
    return found


def node(operator: Operator, name: str) -> pb.Node:
    nodes = operator.stub.GetFleet(pb.GetFleetRequest(), timeout=5).nodes
    found: pb.Node = next(one for one in nodes if one.node_id == name)
    return found


def until_drained(operator: Operator, name: str) -> pb.Node:
    def done() -> pb.Node | None:
        found = node(operator, name)
        return found if found.drain.HasField("done") else None

    return operator.until(done, f"the end of {name}'s drain", 40)


def until_parked(operator: Operator, job: str = "tiny") -> pb.Job:
    def parked() -> pb.Job | None:
        found = operator.job(job)
        return found if found.state == PAUSED and found.drained_from == "a" else None

    return operator.until(parked, "the stop by the drain", 40)


def heliotrope(fleet: LocalFleet, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "heliotrope.cli", *arguments, *asking(fleet)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def asking(fleet: LocalFleet) -> list[str]:
    return ["--coordinator", fleet.address, "--identity", str(fleet.folder / "identities" / "operator")]


def test_migrate_moves_every_job_though_the_planner_moves_none(folder: Path, truth: Truth) -> None:
    """Also one that has no checkpoint yet; a node that is drained is no destination, and says why."""
    fleet = two_nodes(folder)
    with running(fleet, tiny_spec(*STEPS)) as (operator, runners):
        assert not operator.job().HasField("checkpoint")
        done = heliotrope(fleet, "node", "drain", "a", "--deadline", "1m", "--message", "new disk", "--monitor")
        assert done.returncode == 0, done.stderr + operator.story()
        assert "tiny" in done.stdout and "done" in done.stdout
        found = node(operator, "a")
        assert (found.drain_message, list(found.drain.left), list(found.drain.stopped)) == ("new disk", [], [])
        assert operator.job().node_id == "b"
        with pytest.raises(grpc.RpcError) as refused:
            operator.stub.MoveJob(pb.MoveJobRequest(job="tiny", destination="a"), timeout=5)
        assert "is being drained (new disk)" in str(refused.value.details())
        assert operator.ended().state == FINISHED
        assert runners.most == 1
        assert operator.digest() == truth(STEPS)
        moves = operator.stub.ListMigrations(pb.ListMigrationsRequest(), timeout=5).migrations
        assert [one.cause for one in moves] == ["drain", "planner"]


def test_stop_parks_the_job_and_undrain_lets_it_go_on(folder: Path, truth: Truth) -> None:
    fleet = two_nodes(folder)
    with running(fleet, tiny_spec(*STEPS), nodes=("a",)) as (operator, runners):
        drain(operator, "a", "STOP")
        until_drained(operator, "a")
        job = until_parked(operator)
        assert runners._alive() == []
        assert (job.wanted, job.checkpoint.step >= 5) == ("run", True)
        job = operator.until(lambda: job if (job := operator.job()).waiting.sites else None, "the decision")
        verdicts = {one.site: one.binding for one in job.waiting.sites}
        assert verdicts == {"west": "capacity", "east": "capacity"}, operator.story()
        assert "stopped for the drain of node a; waits" in job.message
        shown = heliotrope(fleet, "job", "show", "tiny")
        assert "no node there is free" in shown.stdout and "east" in shown.stdout
        assert not undrain(operator, "a").HasField("drain")
        assert operator.ended().state == FINISHED, operator.story()
        assert (operator.job().drained_from, runners.most) == ("", 1)
        assert operator.digest() == truth(STEPS)


@pytest.mark.slow
def test_stopped_jobs_go_on_elsewhere_as_soon_as_there_is_room(folder: Path, truth: Truth) -> None:
    """The coordinator is killed while they are parked: the drain, its mode and what it stopped outlive it."""
    fleet = two_nodes(folder)
    with running(fleet, tiny_spec(*STEPS), nodes=("a",)) as (operator, runners):
        drain(operator, "a", "STOP", message="power work")
        until_parked(operator)
        fleet.kill(COORDINATOR)
        fleet.start(COORDINATOR)
        fleet.start("b")
        job = operator.ended()
        assert (job.state, job.node_id, runners.most) == (FINISHED, "b", 1), operator.story()
        assert node(operator, "a").drain.mode == pb.DrainMode.DRAIN_MODE_STOP
        assert operator.digest() == truth(STEPS)


@pytest.mark.slow
def test_leave_keeps_running_jobs_and_takes_no_new_ones(folder: Path) -> None:
    fleet = two_nodes(folder)
    with running(fleet, tiny_spec(*STEPS)) as (operator, _):
        left = drain(operator, "a", "LEAVE").drain.left
        assert [(one.job_name, one.reason) for one in left] == [("tiny", "stays until it ends")]
        _follow_and_interrupt(fleet)
        assert node(operator, "a").drain.mode == pb.DrainMode.DRAIN_MODE_LEAVE, "following changes nothing"
        other = operator.submit(msgspec.structs.replace(tiny_spec(*STEPS), name="other"))
        assert operator.reached(1, other).node_id == "b"
        job = operator.ended()
        assert (job.state, job.node_id, job.epoch) == (FINISHED, "a", 1)
        until_drained(operator, "a")


def _follow_and_interrupt(fleet: LocalFleet) -> None:
    """``--monitor --json`` prints one object per line; Ctrl-C ends the watching, not the drain."""
    command = [sys.executable, "-m", "heliotrope.cli", "node", "drain", "a", "--monitor", "--json", *asking(fleet)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        assert (first["node_id"], first["drain"]["mode"], len(first["drain"]["left"])) == ("a", "LEAVE", 1)
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate(timeout=20)
    assert watching.returncode == 130
    assert "the drain goes on" in errors


def test_at_the_deadline_what_can_go_nowhere_is_checkpointed_and_stopped(folder: Path, truth: Truth) -> None:
    """The monitor names it with what bound it; the deadline itself survives a restart of the coordinator."""
    fleet = two_nodes(folder)
    spec = tiny_spec(*LONG, sites_allowed=("west",))
    with running(fleet, spec) as (operator, runners):
        drain(operator, "a", deadline_s=5.0)
        bound = operator.until(lambda: [one.binding for one in node(operator, "a").drain.left] or None, "the decision")
        fleet.kill(COORDINATOR)
        fleet.start(COORDINATOR)
        monitor = heliotrope(fleet, "node", "drain", "a", "--monitor")
        assert monitor.returncode == 9, monitor.stdout + monitor.stderr + operator.story()
        assert "tiny" in monitor.stderr and "was stopped" in monitor.stderr
        assert bound in ([""], ["capacity"])
        assert "no site can take it" in until_parked(operator).message
        assert operator.job().checkpoint.step >= 5
        undrain(operator, "a")
        assert operator.ended().state == FINISHED, operator.story()
        assert runners.most == 1
        assert operator.digest() == truth(LONG)


@pytest.mark.slow
def test_a_job_whose_last_checkpoint_times_out_is_stopped_and_that_is_said(folder: Path) -> None:
    spec = tiny_spec(*ENDLESS, "--ignore-requests", "--checkpoint-every", "20")
    spec = msgspec.structs.replace(spec, checkpoint=CheckpointRules(timeout_s=0.3))
    with running(two_nodes(folder), spec, nodes=("a",)) as (operator, runners):
        operator.until(lambda: True if operator.job().HasField("checkpoint") else None, "a checkpoint")
        drain(operator, "a", "STOP")
        job = until_parked(operator)
        assert "without a last checkpoint" in job.runs[-1].end_reason, operator.story()
        assert "goes on from its checkpoint of step" in job.runs[-1].end_reason
        assert "without a last checkpoint" in job.message
        assert runners._alive() == []
        undrain(operator, "a")
        assert operator.reached(20).epoch == 2
        operator.stub.CancelJob(pb.ChangeJobRequest(job="tiny"))
        operator.ended()


@pytest.mark.slow
def test_undrain_in_the_middle_calls_back_what_has_not_stopped_its_job(folder: Path, truth: Truth) -> None:
    """The destination is slow to prepare: the move is given up, the job never stood still."""
    spec = msgspec.structs.replace(tiny_spec(*STEPS), prepare=("sh", "-c", 'case "$PWD" in */b/*) sleep 30;; esac'))
    with running(two_nodes(folder), spec) as (operator, _):
        drain(operator, "a")
        left = operator.until(
            lambda: left if (left := node(operator, "a").drain.left) and left[0].migration_id else None, "the move"
        )
        assert left[0].under_way
        undrain(operator, "a")
        assert operator.migration_ended(left[0].migration_id) == "ABORTED"
        assert "back in service" in operator.migration(left[0].migration_id).message
        job = operator.ended()
        assert (job.state, job.node_id, job.epoch, len(job.runs)) == (FINISHED, "a", 1, 1), operator.story()
        assert operator.digest() == truth(STEPS)


@pytest.mark.slow
def test_the_newer_wish_wins_and_an_agent_that_is_away_is_waited_for(folder: Path) -> None:
    fleet = two_nodes(folder)
    with running(fleet, tiny_spec(*ENDLESS), nodes=("a",)) as (operator, runners):
        drain(operator, "a", "LEAVE")
        fleet.kill("a")
        operator.until(lambda: True if not node(operator, "a").connected else None, "the agent's absence")
        left = drain(operator, "a", "STOP").drain.left
        assert ["not connected" in one.reason for one in left] == [True]
        assert runners._alive() != []
        fleet.start("a")
        until_parked(operator)
        until_drained(operator, "a")
        assert runners._alive() == []


def test_a_drain_of_a_node_that_is_not_there(folder: Path) -> None:
    fleet = two_nodes(folder)
    with fleet:
        fleet.start_all()
        Operator(fleet).nodes_connected()
        unknown = heliotrope(fleet, "node", "drain", "nowhere", "--monitor")
        assert unknown.returncode == 3 and "node list" in unknown.stderr
        fleet.kill("b")
        operator = Operator(fleet)
        operator.until(lambda: True if not node(operator, "b").connected else None, "its absence")
        assert heliotrope(fleet, "node", "forget", "b", "--yes").returncode == 0
        forgotten = heliotrope(fleet, "node", "drain", "b")
        assert forgotten.returncode == 4 and "node readmit b" in forgotten.stderr
