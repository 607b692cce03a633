"""What becomes of a job whose node is gone: who may start it, from what, when, and what is written in the book."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from heliotrope.coordinator.managers.world import Startup
from heliotrope.coordinator.state import model, order_model
from heliotrope.coordinator.state.model import Loss
from heliotrope.foundation.model import JobState, RunState

from .managed import Managed, managed

STOP: dict[str, Any] = {"disconnect": "stop", "lease_s": 60.0}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Managed]:
    with managed(tmp_path, "ab") as made:
        yield made


def loss(fleet: Managed) -> Loss:
    with fleet.database.transaction() as tx:
        (found,) = tx.losses.of_job("j-1")
        return found


def lose_a(fleet: Managed, *, copy_at_b: bool = True) -> None:
    """Step 45 is the last word of a; checkpoint 3 lies there, and 2 at b."""
    two = fleet.checkpoint(2)
    fleet.report("a", checkpoints=(two,))
    if copy_at_b:
        fleet.report("b", checkpoints=(two,), epoch=0, state=RunState.UNSPECIFIED)
    fleet.wait(10)
    fleet.report("a", step=45, checkpoints=(two, fleet.checkpoint(3)))
    fleet.gone("a")


def test_stop_waits_for_the_lease_and_its_margin_then_takes_the_older_copy(fleet: Managed) -> None:
    fleet.run(**STOP)
    lose_a(fleet)
    fleet.wait(54)
    assert fleet.job.state is JobState.RUNNING, "its lease may still be held"
    fleet.wait(20)
    (start,) = fleet.orders("b")
    assert isinstance(start.order, order_model.Start)
    assert start.order.checkpoint is not None
    assert (start.order.checkpoint.key, start.epoch) == ((1, 2), 2)
    fleet.wait(5)
    fleet.answer(start)
    assert (fleet.job.state, fleet.job.node_id) == (JobState.RUNNING, "b")
    found = loss(fleet)
    assert (found.node_id, found.epoch, found.outcome, found.resumed_node) == ("a", 1, "recovered", "b")
    assert (found.last_step, found.checkpoint and found.checkpoint.step) == (45, 20)
    assert found.resumed_utc is not None
    assert found.resumed_utc - found.last_seen_utc == timedelta(seconds=79)
    # It comes back: further than anybody knew, stopped by its lease, and its run stays lost.
    fleet.hello("a", fleet.report("a", step=60, state=RunState.STOPPED, fault="node"))
    assert loss(fleet).last_step == 60
    assert fleet.job.node_id == "b"


def test_keep_waits_for_the_operators_word(fleet: Managed) -> None:
    fleet.run(disconnect="keep")
    lose_a(fleet)
    fleet.wait(100_000)
    assert fleet.job.state is JobState.RUNNING
    assert fleet.orders("b") == []
    fleet.forget("a")
    fleet.ensure()
    (start,) = fleet.orders("b")
    assert "forgotten" in loss(fleet).cause
    fleet.answer(start)
    # The operator was wrong: a still runs it, and is stopped.
    fleet.hello("a", fleet.report("a", step=50))
    assert [type(one.order) for one in fleet.orders("a")][:1] == [order_model.Stop]


def test_without_a_copy_it_is_lost_and_goes_on_where_it_is_when_its_node_comes_back(fleet: Managed) -> None:
    fleet.run(**STOP)
    lose_a(fleet, copy_at_b=False)
    fleet.wait(100)
    assert fleet.job.state is JobState.LOST
    assert "on_loss" in fleet.job.message
    fleet.wait(1000)
    assert fleet.job.state is JobState.LOST
    fleet.hello("a", fleet.report("a", step=99))
    assert (fleet.job.state, fleet.job.epoch, loss(fleet).outcome) == (JobState.RUNNING, 1, "returned")


def test_what_a_forgotten_node_still_runs_is_stopped_also_where_nothing_else_was_started(fleet: Managed) -> None:
    fleet.run(disconnect="keep")
    lose_a(fleet, copy_at_b=False)
    fleet.forget("a")
    fleet.wait(1)
    assert (fleet.job.state, fleet.job.node_id) == (JobState.LOST, "")
    fleet.hello("a", fleet.report("a", step=99))
    assert isinstance(fleet.orders("a")[0].order, order_model.Stop)


def test_a_lost_job_is_recovered_when_another_holder_of_a_copy_comes(fleet: Managed) -> None:
    fleet.run(**STOP)
    lose_a(fleet)
    fleet.gone("b")
    fleet.wait(100)
    assert fleet.job.state is JobState.LOST
    fleet.hello("b")
    fleet.ensure()
    (start,) = fleet.orders("b")
    assert isinstance(start.order, order_model.Start)
    assert start.epoch == 2


@pytest.mark.parametrize("on_loss", ["wait", "restart"])
def test_a_job_that_never_made_a_checkpoint_begins_again(fleet: Managed, on_loss: str) -> None:
    fleet.run(on_loss=on_loss, **STOP)
    fleet.report("a", step=7)
    fleet.gone("a")
    fleet.wait(66)
    assert (fleet.job.state, fleet.job.node_id) == (JobState.PENDING, "")
    assert loss(fleet).last_step == 7


def test_on_loss_restart_begins_again_although_there_were_checkpoints(fleet: Managed) -> None:
    fleet.run(on_loss="restart", **STOP)
    lose_a(fleet, copy_at_b=False)
    fleet.wait(80)
    assert fleet.job.state is JobState.PENDING


def test_cancelling_a_lost_job_ends_it_and_its_return_is_fenced(fleet: Managed) -> None:
    fleet.run(disconnect="keep")
    lose_a(fleet, copy_at_b=False)
    fleet.forget("a")
    fleet.ensure()
    with fleet.database.transaction() as tx:
        tx.jobs.put(model.replace(tx.jobs.get("j-1"), wanted=model.Wanted.CANCEL))
    fleet.ensure()
    assert fleet.job.state is JobState.FAILED
    fleet.hello("a", fleet.report("a", step=50))
    assert [type(one.order) for one in fleet.orders("a")][:1] == [order_model.Stop]


def restart(fleet: Managed) -> None:
    """The coordinator starts anew over this database: nobody is connected, and it was told nothing."""
    fleet.gone("a")
    fleet.gone("b")
    fleet.world.absent_since_s.clear()
    fleet.world.granted_at_s.clear()
    fleet.world.started_at_s = fleet.clock.now_s
    fleet.world.startup = Startup(job_ids=frozenset({"j-1"}), awaited_nodes={"a", "b"})


def test_a_restored_database_starts_nothing_before_everybody_came_and_adopts_who_runs_it(fleet: Managed) -> None:
    fleet.run(disconnect="keep")
    fleet.report("a", step=5, checkpoints=(fleet.checkpoint(1),))
    restart(fleet)
    fleet.hello("a", handover_count=7)
    assert (fleet.job.state, fleet.job.restart_count) == (JobState.PENDING, 0), "no failure of its own"
    fleet.wait(100_000)
    assert not fleet.world.settled(fleet.job)
    running = model.replace(fleet.report("a", state=RunState.UNSPECIFIED, epoch=0), epoch=4, state=RunState.RUNNING)
    fleet.hello("b", model.replace(running, checkpoints=(fleet.checkpoint(9, epoch=3),)), handover_count=7)
    assert (fleet.job.state, fleet.job.node_id, fleet.job.epoch) == (JobState.RUNNING, "b", 4)
    fleet.ensure()
    assert fleet.world.settled(fleet.job), "everybody came"
    with fleet.database.transaction() as tx:
        assert tx.marks.handover_count() == 7
        assert ("b", (3, 9)) in [(copy.node_id, copy.checkpoint.key) for copy in tx.jobs.copies("j-1")]


def test_a_run_that_ended_after_the_backup_is_booked_as_it_ended(fleet: Managed) -> None:
    fleet.run(disconnect="keep")
    restart(fleet)
    finished = fleet.report("a", state=RunState.UNSPECIFIED, epoch=0)
    fleet.hello("b", model.replace(finished, epoch=3, state=RunState.FINISHED), handover_count=2)
    assert (fleet.job.state, fleet.job.epoch) == (JobState.FINISHED, 3)


def test_a_restart_with_all_nodes_back_waits_for_nothing_and_stop_waits_for_one_lease(fleet: Managed) -> None:
    fleet.run(**STOP)
    restart(fleet)
    assert not fleet.world.settled(fleet.job)
    fleet.wait(64)
    assert not fleet.world.settled(fleet.job)
    fleet.wait(2)
    assert fleet.world.settled(fleet.job)
    restart(fleet)
    fleet.hello("a")
    fleet.hello("b")
    assert fleet.world.settled(fleet.job)
