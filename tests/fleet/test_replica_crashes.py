"""SIGKILL while a replica is made: it is made all the same, and the job at its holder notices nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from fleet_driver import Operator, Runners, Truth, tiny_spec, two_nodes

from heliotrope.cli.demo.fleet import COORDINATOR
from heliotrope.foundation.jobspec import CheckpointRules
from heliotrope.v1 import common_pb2
from heliotrope.v1 import operator_pb2 as pb

ARGUMENTS = ("--steps", "240", "--step-s", "0.05", "--state-kb", "64")
RULES = CheckpointRules(timeout_s=15.0, replicate_every="2s")
QUICK = {(COORDINATOR, "replica.pulling.persisted"), ("b", "agent.pull.transferring")}
CRASHES = [
    *((COORDINATOR, f"replica.{step}.persist{ed}") for step in ("asking", "pulling", "verified") for ed in ("", "ed")),
    ("b", "agent.pull.received"),
    ("b", "agent.pull.transferring"),
    ("b", "agent.pull.applied"),
    ("b", "agent.pull.recorded"),
]


@pytest.mark.parametrize(
    ("member", "point"),
    [pytest.param(*crash, id="-".join(crash), marks=() if crash in QUICK else pytest.mark.slow) for crash in CRASHES],
)
def test_a_replica_is_made_through_a_crash(member: str, point: str, folder: Path, truth: Truth) -> None:
    with two_nodes(folder) as fleet:
        for name in fleet.members:
            fleet.start(name, failpoint=f"{point}=kill" if name == member else "")
        operator = Operator(fleet)
        operator.nodes_connected()
        job_id = operator.submit(msgspec.structs.replace(tiny_spec(*ARGUMENTS), checkpoint=RULES))
        with Runners(job_id) as runners:
            operator.until(lambda: None if fleet.running(member) else True, f"the death of {member} at {point}")
            fleet.start(member)
            operator.nodes_connected()
            replica = operator.until(lambda: _verified(operator), "a replica")
            assert replica.node_id == "b"
            job = operator.ended()
        assert job.state == common_pb2.JobState.JOB_STATE_FINISHED, operator.story()
        assert [(run.node_id, run.epoch) for run in job.runs] == [("a", 1)], operator.story()
        assert (job.restart_count, runners.most) == (0, 1), operator.story()
        assert operator.digest() == truth(ARGUMENTS), operator.story()


def _verified(operator: Operator) -> pb.Replica | None:
    return next((one for one in operator.job().replicas if one.HasField("verified")), None)
