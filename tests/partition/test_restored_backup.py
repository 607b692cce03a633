"""A coordinator whose database is put back from a backup of before a move: the move happened, and stays."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from fleet_driver import Operator

from heliotrope.cli.demo.fleet import COORDINATOR
from heliotrope.v1 import common_pb2

from .network_driver import NetworkFleet, network_fleet
from .witness_driver import STEP_S, Witness, cleaned, connected, running_at

FINISHED = common_pb2.JobState.JOB_STATE_FINISHED
DATABASE = "coordinator.sqlite"


@pytest.mark.slow
def test_a_job_that_moved_after_the_backup_is_not_started_again_where_it_was(folder: Path) -> None:
    """disconnect = "keep": its true holder cannot be asked for a while, so nothing is started for as long as that."""
    witness = Witness(folder, 700)
    with network_fleet(folder) as (fleet, network):
        operator = Operator(fleet)
        operator.nodes_connected()
        witness.submit(operator, replicate_every="", disconnect="keep")
        operator.reached(20)
        _back_up(fleet)
        _move(operator, folder)
        network.cut("b", COORDINATOR)
        network.cut(COORDINATOR, "b")
        _restore(fleet)
        connected(operator, "a", True)
        before = witness.newest("b")
        assert before is not None

        def much_later() -> bool | None:
            newest = witness.newest("b")
            return True if newest is not None and newest.step > before.step + 6.0 / STEP_S else None

        operator.until(much_later, "the true holder's steps", 40)
        assert {entry.node for entry in witness.entries() if entry.boottime_s > before.boottime_s} == {"b"}
        assert operator.job().node_id != "b", "the backup cannot know"
        network.heal()
        running_at(operator, "b", 2)
        job = operator.ended()
        assert (job.state, job.node_id, job.epoch) == (FINISHED, "b", 2), operator.story()
        witness.at_most_one_runner()
        witness.nothing_was_skipped()
        assert operator.digest() == witness.digest()


@pytest.mark.slow
def test_a_lost_holder_is_replaced_after_a_full_lease(folder: Path) -> None:
    """disconnect = "stop": the true holder never comes back, and its lease, which nobody remembers, is waited for."""
    witness = Witness(folder, 300)
    with network_fleet(folder) as (fleet, network):
        operator = Operator(fleet)
        operator.nodes_connected()
        witness.submit(operator, replicate_every="1s", disconnect="stop")
        operator.reached(20)
        _back_up(fleet)
        operator.migration_ended(operator.move("b"))
        operator.until(lambda: True if witness.newest("b") else None, "steps at b")
        network.isolate("b")
        _restore(fleet)
        job = operator.ended()
        assert (job.state, job.node_id) == (FINISHED, "a"), operator.story()
        _no_two_at_once(witness)
        assert operator.digest() == witness.digest()


def _no_two_at_once(witness: Witness) -> None:
    """By places, not by epochs: the restored coordinator cannot know that epoch 2 was given away."""
    places = [entry.node for entry in witness.entries()]
    changes = [place for place, before in zip(places, ["", *places], strict=False) if place != before]
    assert changes == ["a", "b", "a"], "two runs of the job were alive at once"


def _move(operator: Operator, folder: Path) -> None:
    """To b, and until the source let go of everything: it has nothing to show when it is asked."""
    assert operator.migration_ended(operator.move("b")) == "COMMITTED", operator.story()
    cleaned(operator, folder, "a")


def _back_up(fleet: NetworkFleet) -> None:
    with (
        sqlite3.connect(fleet.folder / COORDINATOR / DATABASE) as source,
        sqlite3.connect(fleet.folder / "backup.sqlite") as target,
    ):
        source.backup(target)


def _restore(fleet: NetworkFleet) -> None:
    fleet.kill(COORDINATOR)
    for leftover in (fleet.folder / COORDINATOR).glob(f"{DATABASE}*"):
        leftover.unlink()
    (fleet.folder / "backup.sqlite").rename(fleet.folder / COORDINATOR / DATABASE)
    fleet.start(COORDINATOR)
