"""SIGKILL at every named failpoint of the saga, with real processes.

docs/saga.md has the table of what each crash leads to. Whatever is killed where: at any time at most one place runs
the job, it goes on from its newest verified checkpoint, and its result is that of an uninterrupted run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from fleet_driver import Operator, Runners, Truth, tiny_spec, two_nodes

from heliotrope.agent import executor
from heliotrope.cli.demo.fleet import COORDINATOR, LocalFleet
from heliotrope.coordinator.managers import saga
from heliotrope.foundation import failpoints
from heliotrope.v1 import common_pb2
from heliotrope.v1 import operator_pb2 as pb

ARGUMENTS = ("--steps", "140", "--step-s", "0.05", "--state-kb", "64")


@dataclass(frozen=True)
class Crash:
    """``member`` dies at ``point``, on its ``pass_count``-th pass (the placement passes some points first).

    ``spoiled``: (member, failpoint setting) that makes the move fail, so that it goes the way back.
    """

    member: str
    point: str
    pass_count: int = 1
    spoiled: tuple[str, str] = ("", "")

    @property
    def id(self) -> str:
        return f"{self.member}-{self.point}"

    def armed(self, member: str) -> str:
        """The failpoints that the member starts with."""
        settings = [self.spoiled[1]] if self.spoiled[0] == member else []
        settings += [f"{self.point}=kill@{self.pass_count}"] if self.member == member else []
        return ",".join(settings)


# The final checkpoint cannot be fetched: the source resumes. The destination cannot start: the source starts anew.
ABORTS = ("b", "agent.pull.received=error@2")
RECOVERS = ("b", "agent.start.received=error")


def _coordinator() -> list[Crash]:
    # PLANNED, PREPARING, STARTING and COMMITTED are passed by the placement before the move passes them.
    twice = {"planned", "preparing", "starting", "committed"}
    steps = ("planned", "preparing", "staging", "quiescing", "sending", "verified", "starting", "committed")
    return [
        Crash(COORDINATOR, f"saga.{step}.{moment}", 2 if step in twice else 1)
        for step in steps
        for moment in ("persist", "persisted")
    ]


def _agents() -> list[Crash]:
    source = ("request_checkpoint", "quiesce", "release")
    destination = ("prepare", "pull", "start")
    moments = ("received", "applied", "recorded")
    crashes = [Crash("a", f"agent.{kind}.{moment}") for kind in source for moment in moments]
    crashes += [Crash("b", f"agent.{kind}.{moment}") for kind in destination for moment in moments]
    crashes += [Crash("b", f"agent.pull.{moment}", 2) for moment in moments]  # the final checkpoint, the job stands
    return [*crashes, Crash("b", "agent.pull.transferring")]


def _backward() -> list[Crash]:
    moments = ("persist", "persisted")
    crashes = [Crash(COORDINATOR, f"saga.{step}.{m}", 1, ABORTS) for step in ("aborting", "aborted") for m in moments]
    # RECOVERING is entered twice: for the fence, and for the new start.
    recovering = [("recovering", 1), ("recovering", 2), ("recovered", 1)]
    crashes += [Crash(COORDINATOR, f"saga.{step}.{m}", count, RECOVERS) for step, count in recovering for m in moments]
    deeds = ("received", "applied", "recorded")
    crashes += [Crash("a", f"agent.resume.{deed}", 1, ABORTS) for deed in deeds]
    return [*crashes, *(Crash("b", f"agent.stop.{deed}", 1, RECOVERS) for deed in deeds)]


CRASHES = [*_coordinator(), *_agents(), *_backward()]
# One crash per step and party is quick to run on every change; the whole table is `make test-slow`.
QUICK = {
    "coordinator-saga.staging.persisted",
    "coordinator-saga.starting.persisted",
    "a-agent.quiesce.applied",
    "b-agent.pull.transferring",
    "b-agent.start.applied",
    "a-agent.resume.applied",
    "coordinator-saga.recovering.persisted",
}


# Orders that belong to no move.
OTHER_ORDERS = ("send_outputs", "cap_power", "uncap_power", "repair")


def test_the_table_names_every_point_of_a_move() -> None:
    """A failpoint that is added to the saga or to a command of a move must be added here."""
    assert saga and executor  # they register the points
    wanted = {
        name
        for name in failpoints.registered()
        # FAILED is the end of a job that starts nowhere: test_faults has it.
        if (name.startswith("saga.") and not name.startswith("saga.failed."))
        or (name.startswith("agent.") and name.split(".")[1] not in OTHER_ORDERS)
    }
    assert {crash.point for crash in CRASHES} == wanted
    assert {crash.id for crash in CRASHES} >= QUICK


@pytest.mark.parametrize(
    "crash",
    [
        pytest.param(crash, id=f"{crash.id}-{crash.pass_count}", marks=() if crash.id in QUICK else pytest.mark.slow)
        for crash in CRASHES
    ],
)
def test_the_job_ends_bit_exact(crash: Crash, folder: Path, truth: Truth) -> None:
    with two_nodes(folder) as fleet:
        for name in fleet.members:
            fleet.start(name, failpoint=crash.armed(name))
        operator = Operator(fleet)
        operator.nodes_connected()
        job_id = operator.submit(tiny_spec(*ARGUMENTS))
        with Runners(job_id) as runners:
            operator.reached(10)
            migration_id = _move_through_crash(fleet, operator, crash)
            job = operator.ended()
        assert operator.migration_ended(migration_id) in ("COMMITTED", "ABORTED", "RECOVERED"), operator.story()
        assert job.state == common_pb2.JobState.JOB_STATE_FINISHED, operator.story()
        assert operator.digest() == truth(ARGUMENTS), operator.story()
        assert runners.most == 1, operator.story()
        assert runners.samples > 20
        epochs = [run.epoch for run in job.runs]
        assert epochs == sorted(set(epochs)), "an epoch was given twice"


def _move_through_crash(fleet: LocalFleet, operator: Operator, crash: Crash) -> str:
    """Ask for the move, see the member die at its point, bring it back as its service manager would."""
    request = pb.MoveJobRequest(request_id="the-move", job="tiny", destination="b")
    try:
        operator.stub.MoveJob(request, timeout=10)
    except grpc.RpcError as error:
        assert crash.member == COORDINATOR, error  # it died before it could answer
    operator.until(
        lambda: None if fleet.running(crash.member) else True, f"the death of {crash.member} at {crash.point}"
    )
    fleet.start(crash.member)
    operator.nodes_connected()
    migration: pb.Migration = operator.until(lambda: operator.stub.MoveJob(request, timeout=5), "the repeated move")
    return str(migration.migration_id)
