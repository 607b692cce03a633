"""Nodes that are declared gone for good, and come back after all."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from fleet_driver import Operator, Runners, Truth, tiny_spec, two_nodes

from heliotrope.cli.demo.fleet import COORDINATOR, LocalFleet
from heliotrope.v1 import common_pb2
from heliotrope.v1 import operator_pb2 as pb

SLOW = ("--steps", "240", "--step-s", "0.05", "--state-kb", "64")
LOST = common_pb2.JobState.JOB_STATE_LOST
PENDING = common_pb2.JobState.JOB_STATE_PENDING
FINISHED = common_pb2.JobState.JOB_STATE_FINISHED


def node(operator: Operator, name: str) -> pb.Node:
    nodes = operator.stub.GetFleet(pb.GetFleetRequest(), timeout=5).nodes
    found: pb.Node = next(one for one in nodes if one.node_id == name)
    return found


def forget(operator: Operator, name: str) -> pb.Node:
    found: pb.Node = operator.stub.ForgetNode(pb.ForgetNodeRequest(node_id=name), timeout=5)
    return found


def lose(fleet: LocalFleet, operator: Operator, name: str) -> None:
    """The agent dies; its job runs on, as it does behind a cut network."""
    fleet.kill(name)
    operator.until(lambda: True if not node(operator, name).connected else None, f"the absence of {name}")


def stopped(runners: Runners, count: int = 0) -> bool | None:
    return True if len(runners._alive()) <= count else None


def test_a_forgotten_node_that_comes_back_is_fenced_until_it_is_readmitted(folder: Path, truth: Truth) -> None:
    """Its job went on elsewhere from the copy that an earlier move had left there, under a new epoch."""
    with two_nodes(folder, saga={"retention_s": 600.0}) as fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.nodes_connected()
        with Runners(operator.submit(tiny_spec(*SLOW))) as runners:
            operator.reached(5)
            assert operator.migration_ended(operator.move("b")) == "COMMITTED"
            with pytest.raises(grpc.RpcError) as refused:
                forget(operator, "b")
            assert "stop its agent first" in str(refused.value.details())
            lose(fleet, operator, "b")
            found = forget(operator, "b")
            assert found.forgotten
            again = operator.until(lambda: job if (job := operator.job()).node_id == "a" else None, "the recovery")
            assert again.epoch > 2, operator.story()
            fleet.start("b")
            operator.until(lambda: True if node(operator, "b").connected else None, "the return")
            operator.until(lambda: stopped(runners, 1), "the fence", 20)
            assert node(operator, "b").forgotten
            with pytest.raises(grpc.RpcError) as refused:
                operator.stub.MoveJob(pb.MoveJobRequest(job="tiny", destination="b"), timeout=5)
            assert "node readmit b" in str(refused.value.details())
            operator.stub.ReadmitNode(pb.ReadmitNodeRequest(node_id="b"), timeout=5)
            assert not node(operator, "b").forgotten
            job = operator.ended()
        assert (job.state, job.node_id) == (FINISHED, "a"), operator.story()
        assert operator.digest() == truth(SLOW)


def test_the_only_checkpoints_were_there_so_the_job_is_lost_until_they_come_back(folder: Path, truth: Truth) -> None:
    """The node comes back forgotten: what ran there is stopped, and the job goes on elsewhere from its checkpoint."""
    arguments = (*SLOW, "--checkpoint-every", "10")
    with two_nodes(folder) as fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.nodes_connected()
        with Runners(operator.submit(tiny_spec(*arguments))) as runners:
            operator.until(lambda: True if operator.job().checkpoint.step >= 20 else None, "a checkpoint")
            lose(fleet, operator, "a")
            forget(operator, "a")
            job = operator.until(lambda: one if (one := operator.job()).state == LOST else None, "the loss")
            assert job.node_id == ""
            assert "no node that holds a checkpoint of it is connected" in job.message
            assert runners._alive() != []
            fleet.start("a")
            job = operator.ended()
            assert (job.state, job.node_id) == (FINISHED, "b"), operator.story()
            assert operator.digest() == truth(arguments)


def test_a_job_without_any_checkpoint_begins_again(folder: Path, truth: Truth) -> None:
    with two_nodes(folder) as fleet:
        fleet.start(COORDINATOR)
        fleet.start("a")
        operator = Operator(fleet)
        operator.submit(tiny_spec("--steps", "30", *SLOW[2:]))
        operator.reached(3)
        lose(fleet, operator, "a")
        forget(operator, "a")
        job = operator.until(
            lambda: one if (one := operator.job()).state == PENDING else None, "its place in the queue"
        )
        assert job.restart_count == 0, "the loss of a node is no failure of the job"
        assert "is forgotten" in job.runs[-1].end_reason
        fleet.start("b")
        job = operator.ended()
        assert (job.state, job.node_id, job.epoch) == (FINISHED, "b", 2), operator.story()
        assert operator.digest() == truth(("--steps", "30", *SLOW[2:]))


def test_a_move_is_not_waited_for_when_its_source_is_forgotten(folder: Path) -> None:
    """Its source dies in the middle of stopping the job; the staged copy at the destination is started at once."""
    arguments = (*SLOW, "--checkpoint-every", "10")
    with two_nodes(folder) as fleet:
        fleet.start(COORDINATOR)
        fleet.start("a", failpoint="agent.quiesce.received=kill")
        fleet.start("b")
        operator = Operator(fleet)
        operator.nodes_connected()
        operator.submit(tiny_spec(*arguments))
        operator.until(lambda: True if operator.job().checkpoint.step >= 10 else None, "a checkpoint")
        migration_id = operator.move("b")
        operator.until(lambda: True if not node(operator, "a").connected else None, "the source's death")
        forget(operator, "a")
        assert operator.migration_ended(migration_id) == "ABORTED", operator.story()
        job = operator.ended()
        assert (job.state, job.node_id) == (FINISHED, "b"), operator.story()
