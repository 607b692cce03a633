"""A node that is cut from the coordinator for longer than the lease, both ways and one way, under both policies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from fleet_driver import Operator

from heliotrope.cli.demo.fleet import COORDINATOR
from heliotrope.v1 import common_pb2
from heliotrope.v1 import operator_pb2 as pb

from .network_driver import Network, network_fleet
from .witness_driver import LEASE_S, STEP_S, Witness, cleaned, connected, replica_at, running_at

FINISHED = common_pb2.JobState.JOB_STATE_FINISHED
Cut = Callable[[Network], None]
CUTS: dict[str, Cut] = {
    "off-from-all": lambda network: network.isolate("a"),
    "agent-is-not-heard": lambda network: network.cut("a", COORDINATOR),
    "agent-hears-nothing": lambda network: network.cut(COORDINATOR, "a"),
}


@pytest.mark.slow
@pytest.mark.parametrize("cut", CUTS)
def test_stop_goes_on_from_the_replica_once_the_lease_ended(folder: Path, cut: str) -> None:
    """The holder stops by itself before its lease ends; only then the other node begins; the first is cleaned up."""
    witness = Witness(folder, 300)
    with network_fleet(folder) as (fleet, network):
        operator = Operator(fleet)
        operator.nodes_connected()
        witness.submit(operator, disconnect="stop")
        operator.reached(40)
        replica = replica_at(operator, "b")
        CUTS[cut](network)
        running_at(operator, "b", 2)
        network.heal()
        connected(operator, "a", True)
        job = operator.ended()
        assert (job.state, job.node_id, job.epoch) == (FINISHED, "b", 2), operator.story()
        witness.at_most_one_runner()
        witness.nothing_was_skipped()
        assert operator.digest() == witness.digest()
        cleaned(operator, folder, "a")
        (loss,) = operator.job().losses
        assert (loss.node_id, loss.epoch, loss.outcome, loss.resumed_node) == ("a", 1, "recovered", "b")
        assert loss.checkpoint.step >= replica.checkpoint.step
        last = witness.newest("a")
        assert last is not None
        assert loss.lost_steps == loss.last_step - loss.checkpoint.step
        assert loss.checkpoint.step <= loss.last_step <= last.step
        assert loss.outage.ToSeconds() >= 1
        assert loss.HasField("lost_energy_j"), "the ledger knew"
        row = next(one for one in operator.stub.GetReport(pb.GetReportRequest(job="tiny")).rows if one.kind == "job")
        assert (row.loss_count, row.lost_steps) == (1, loss.lost_steps)


@pytest.mark.slow
def test_keep_runs_on_through_the_cut_and_its_reports_catch_up(folder: Path) -> None:
    steps = round(22 / STEP_S)
    witness = Witness(folder, steps)
    with network_fleet(folder) as (fleet, network):
        operator = Operator(fleet)
        operator.nodes_connected()
        witness.submit(operator, disconnect="keep")
        operator.reached(40)
        replica_at(operator, "b")
        network.isolate("a")
        connected(operator, "a", False)
        known = operator.job().progress.step

        def past_the_lease() -> bool | None:
            newest = witness.newest("a")
            return True if newest is not None and newest.step > known + 1.5 * LEASE_S / STEP_S else None

        operator.until(past_the_lease, "the job's steps through the cut", 40)
        job = operator.job()
        assert (job.node_id, job.epoch, len(job.losses)) == ("a", 1, 0), operator.story()
        network.heal()
        operator.reached(known + 1)
        job = operator.ended()
        assert (job.state, job.node_id, job.epoch, len(job.losses)) == (FINISHED, "a", 1, 0), operator.story()
        assert {entry.epoch for entry in witness.entries()} == {1}
        witness.nothing_was_skipped()
        assert operator.digest() == witness.digest()


@pytest.mark.slow
def test_keep_is_handed_on_when_an_operator_forgets_the_node(folder: Path) -> None:
    """The operator's word counts, even if it was wrong: the forgotten node is fenced and cleaned when it comes back."""
    witness = Witness(folder, 400)
    with network_fleet(folder) as (fleet, network):
        operator = Operator(fleet)
        operator.nodes_connected()
        witness.submit(operator, disconnect="keep")
        operator.reached(40)
        replica_at(operator, "b")
        with pytest.raises(grpc.RpcError):
            operator.stub.ForgetNode(pb.ForgetNodeRequest(request_id="1", node_id="a"))
        network.isolate("a")
        connected(operator, "a", False)
        assert operator.job().epoch == 1
        operator.stub.ForgetNode(pb.ForgetNodeRequest(request_id="2", node_id="a"))
        running_at(operator, "b", 2)
        network.heal()
        connected(operator, "a", True)
        cleaned(operator, folder, "a")
        fenced = witness.newest("a")
        job = operator.ended()
        assert (job.state, job.node_id, job.epoch) == (FINISHED, "b", 2), operator.story()
        assert witness.newest("a") == fenced, "the forgotten node went on"
        assert operator.digest() == witness.digest()
        (loss,) = job.losses
        assert (loss.outcome, "forgotten" in loss.cause) == ("recovered", True)
