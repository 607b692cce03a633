"""The walk of a replica: where, when, from which checkpoint, and who goes first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from heliotrope.coordinator.state import model, order_model
from heliotrope.coordinator.state.model import Replica, ReplicaState
from heliotrope.coordinator.state.order_model import Command
from heliotrope.foundation.jobspec import CheckpointRules
from heliotrope.foundation.model import CommandResult, MigrationKind

from .managed import Managed, managed

RULES = CheckpointRules(replicate_every="100s", timeout_s=10.0)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Managed]:
    with managed(tmp_path) as made:
        yield made


def replicas(fleet: Managed) -> list[Replica]:
    with fleet.database.transaction() as tx:
        return tx.replicas.of_job("j-1")


def only_order(fleet: Managed, node_id: str, kind: type) -> Command:
    (command,) = fleet.orders(node_id)
    assert isinstance(command.order, kind)
    return command


def first_replica(fleet: Managed) -> None:
    """Verified at b: another site, as c is at the holder's."""
    fleet.run(rules=RULES)
    fleet.report("a", step=10, checkpoints=(fleet.checkpoint(1),))
    fleet.ensure()
    fleet.answer(only_order(fleet, "b", order_model.Pull))


def test_a_new_enough_checkpoint_is_copied_to_another_site_and_again_after_the_interval(fleet: Managed) -> None:
    first_replica(fleet)
    (replica,) = replicas(fleet)
    assert (replica.node_id, replica.state) == ("b", ReplicaState.IDLE)
    assert replica.checkpoint is not None
    assert (replica.checkpoint.key, replica.verified_utc) == ((1, 1), fleet.clock.utc())
    fleet.wait(99)
    assert fleet.orders("a") == fleet.orders("b") == []
    fleet.wait(2)  # due, and the newest is older than half the interval: the job is asked first
    asked = only_order(fleet, "a", order_model.RequestCheckpoint)
    second = fleet.checkpoint(2)
    fleet.report("a", checkpoints=(fleet.checkpoint(1), second))
    fleet.answer(asked)
    order = only_order(fleet, "b", order_model.Pull).order
    assert isinstance(order, order_model.Pull)
    assert (order.checkpoint.key, order.replica, order.source_node) == ((1, 2), True, "a")
    (replica,) = replicas(fleet)
    assert replica.checkpoint is not None
    assert replica.checkpoint.key == (1, 1), "the older one counts until the newer is verified"


def test_a_job_that_refuses_is_copied_as_it_is_and_one_without_news_is_left_alone(fleet: Managed) -> None:
    first_replica(fleet)
    fleet.wait(101)
    fleet.answer(only_order(fleet, "a", order_model.RequestCheckpoint), error="it does not answer")
    assert fleet.orders("b") == [], "there is nothing newer"
    assert replicas(fleet)[0].message == "it does not answer"
    fleet.wait(50)
    fleet.report("a", checkpoints=(fleet.checkpoint(2),))
    fleet.wait(51)
    fleet.answer(only_order(fleet, "a", order_model.RequestCheckpoint), error="it does not answer")
    only_order(fleet, "b", order_model.Pull)


def test_a_move_goes_first_and_a_late_answer_still_counts_as_a_copy(fleet: Managed) -> None:
    first_replica(fleet)
    fleet.wait(101)
    fleet.report("a", checkpoints=(fleet.checkpoint(2),))
    fleet.answer(only_order(fleet, "a", order_model.RequestCheckpoint))
    pull = only_order(fleet, "b", order_model.Pull)
    with fleet.database.transaction() as tx:
        fleet.saga.begin(tx, MigrationKind.MOVE, tx.jobs.get("j-1"), tx.nodes.get("d"), cause="operator")
    with fleet.database.transaction() as tx:
        fleet.replication.ensure(tx)
        assert tx.replicas.of_job("j-1")[0].state is ReplicaState.IDLE
        cancelled = tx.commands.find(pull.command_id)
        assert cancelled is not None
        assert cancelled.state is order_model.CommandState.CANCELLED
        assert fleet.replication.on_result(tx, pull, CommandResult(command_id=pull.command_id))
        assert ("b", (1, 2)) in [(copy.node_id, copy.checkpoint.key) for copy in tx.jobs.copies("j-1")]


def test_a_node_that_cannot_hold_it_is_replaced_and_a_drained_one_after_its_successor(fleet: Managed) -> None:
    fleet.run(rules=RULES)
    fleet.report("a", checkpoints=(fleet.checkpoint(1),))
    fleet.ensure()
    for _ in range(3):
        fleet.answer(only_order(fleet, "b", order_model.Pull), error="cannot be reached")
        fleet.report("a", checkpoints=(fleet.checkpoint(1),))
        fleet.wait(41)
    only_order(fleet, "b", order_model.Release)
    fleet.answer(only_order(fleet, "d", order_model.Pull))
    assert [replica.node_id for replica in replicas(fleet)] == ["d"]
    with fleet.database.transaction() as tx:
        tx.nodes.put(model.replace(tx.nodes.get("d"), draining=True))
    fleet.report("a", checkpoints=(fleet.checkpoint(2),))
    fleet.wait(61)
    fleet.ensure()
    assert {replica.node_id: replica.leaving for replica in replicas(fleet)} == {"b": False, "d": True}
    for command in [*fleet.orders("a"), *fleet.orders("b")]:
        if isinstance(command.order, order_model.RequestCheckpoint):
            fleet.answer(command)
    (pull,) = [one for one in fleet.orders("b") if isinstance(one.order, order_model.Pull)]
    assert fleet.orders("d") == [], "the drained one stays until then"
    fleet.answer(pull)
    fleet.ensure()
    only_order(fleet, "d", order_model.Release)
    assert [replica.node_id for replica in replicas(fleet)] == ["b"]


def test_forbidden_and_full_places_are_left_out_and_wishes_come_first(tmp_path: Path) -> None:
    with managed(tmp_path) as fleet:
        fleet.run(
            rules=model.replace(RULES, replicas=2, replicate_to=("north",)),  # type: ignore[type-var]
            sites_forbidden=("east",),
        )
        fleet.report("a", checkpoints=(fleet.checkpoint(1),))
        fleet.ensure()
        fleet.ensure()
        assert [replica.node_id for replica in replicas(fleet)] == ["c", "d"]
        # One transfer at a time from the holder, whatever the number of replicas.
        pulls = [one for node in "cd" for one in fleet.orders(node)]
        assert len(pulls) == 1
        fleet.answer(pulls[0])
        fleet.ensure()
        (second,) = [one for node in "cd" for one in fleet.orders(node)]
        assert second.node_id != pulls[0].node_id


def test_a_replicas_node_that_becomes_the_holder_keeps_what_it_has(fleet: Managed) -> None:
    first_replica(fleet)
    with fleet.database.transaction() as tx:
        tx.jobs.put(model.replace(tx.jobs.get("j-1"), node_id="b", site="east", epoch=2))
    fleet.ensure()
    assert fleet.orders("b") == []
    assert [replica.node_id for replica in replicas(fleet)] == ["a"], "the former holder has a base already"
