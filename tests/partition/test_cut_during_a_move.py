"""Agents that lose each other while a checkpoint is on its way; both still reach the coordinator."""

from __future__ import annotations

from pathlib import Path

import pytest
from fleet_driver import Operator

from heliotrope.v1 import common_pb2

from .network_driver import network_fleet
from .witness_driver import Witness

FINISHED = common_pb2.JobState.JOB_STATE_FINISHED
STATE_KB = 512
# Slow enough to be cut in the middle, with a source that is given up in seconds instead of minutes.
TRANSFER = {"rate_limit_bytes_per_s": 150_000, "connections": 1, "give_up_s": 2.0}


@pytest.mark.slow
@pytest.mark.parametrize("step", ["STAGING", "SENDING"])
def test_a_move_whose_agents_lose_each_other_leaves_one_runner(folder: Path, step: str) -> None:
    """The move is given up, and the source goes on with the job that it never lost."""
    witness = Witness(folder, 140, state_kb=STATE_KB)
    with network_fleet(folder, transfer=TRANSFER) as (fleet, network):
        operator = Operator(fleet)
        operator.nodes_connected()
        witness.submit(operator, replicate_every="")
        operator.reached(12)
        migration_id = operator.move("b")

        def transfers() -> bool | None:
            migration = operator.migration(migration_id)
            there = common_pb2.MigrationStep.Name(migration.step) == f"MIGRATION_STEP_{step}"
            return True if there and 0 < migration.progress_ratio < 1 else None

        operator.until(transfers, f"a transfer in {step}", 60)
        network.cut("a", "b")
        network.cut("b", "a")
        ended = operator.migration_ended(migration_id)
        assert ended == "ABORTED", operator.story()
        network.heal()
        job = operator.ended()
        assert (job.state, job.node_id, job.epoch) == (FINISHED, "a", 1), operator.story()
        witness.at_most_one_runner()
        assert operator.digest() == witness.digest()
