"""What becomes of a copy that was staged ahead, and what its books say of it afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from heliotrope.coordinator.server import reports
from heliotrope.coordinator.state import model, order_model
from heliotrope.coordinator.state.model import AheadOutcome, ReplicaReason
from heliotrope.foundation.jobspec import CheckpointRules
from heliotrope.foundation.model import JobState, MigrationKind

from .looking import FULL_BYTES, SUNSET_MIN, Looking, forecasts, looking


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Looking]:
    with looking(tmp_path) as made:
        yield made


def test_a_wrong_guess_is_dropped_and_booked_as_waste(fleet: Looking) -> None:
    fleet.with_rules(keep_s=100.0)
    fleet.begin()
    fleet.look()
    fleet.answer(fleet.pull(), wire_bytes=800)
    fleet.world.config = model.replace(  # type: ignore[type-var]
        fleet.world.config,
        planner=model.replace(fleet.world.config.planner, enabled=False),  # type: ignore[type-var]
    )
    fleet.wait(60 * SUNSET_MIN + 99)
    assert len(fleet.staged()) == 1
    fleet.wait(2)
    assert fleet.staged() == []
    assert any(isinstance(one.order, order_model.Release) for one in fleet.orders("b"))
    (book,) = fleet.books()
    assert (book.outcome, book.wire_bytes) == (AheadOutcome.WASTE, 800)
    with fleet.database.transaction() as tx:
        row = reports.report(fleet.world, tx, start=None, end=None, job=tx.jobs.get("j-1")).rows[0]
    assert (row.ahead_count, row.ahead_hit_count, row.ahead_waste_count, row.ahead_wasted_bytes) == (1, 0, 1, 800)
    assert row.ahead_wasted_energy_j == book.energy_j and row.ahead_wasted_carbon_g == book.carbon_g


def test_a_better_forecast_sends_it_elsewhere_and_the_first_guess_is_waste(fleet: Looking, tmp_path: Path) -> None:
    fleet.begin()
    fleet.look()
    fleet.answer(fleet.pull(), wire_bytes=800)
    fleet.world.sites.update(forecasts(tmp_path, evening_site="north"))
    fleet.look(70)
    assert fleet.staged() == [], "one at a time: the first one goes before another comes"
    for command in fleet.orders("b"):
        fleet.answer(command)
    fleet.look(70)
    assert [(one.node_id, one.reason) for one in fleet.staged()] == [("d", ReplicaReason.AHEAD)]
    assert [(one.node_id, one.outcome) for one in fleet.books()] == [
        ("b", AheadOutcome.WASTE),
        ("d", AheadOutcome.OPEN),
    ]


@pytest.mark.parametrize("why", ["elsewhere", "drained", "forgotten", "ended", "off"])
def test_whatever_takes_its_purpose_away_makes_it_waste(fleet: Looking, why: str) -> None:
    fleet.begin()
    fleet.look()
    fleet.answer(fleet.pull(), wire_bytes=800)
    if why == "elsewhere":
        fleet.held_by("d", "north")
    elif why in ("drained", "forgotten"):
        with fleet.database.transaction() as tx:
            node = tx.nodes.get("b")
            tx.nodes.put(model.replace(node, draining=why == "drained", forgotten=why == "forgotten"))
    elif why == "ended":
        with fleet.database.transaction() as tx:
            tx.jobs.put(model.replace(tx.jobs.get("j-1"), state=JobState.FINISHED, ended_utc=fleet.clock.utc()))
    else:
        fleet.with_rules(jobs="none")
        fleet.look()
    fleet.ensure()
    assert fleet.staged() == []
    assert [one.outcome for one in fleet.books()] == [AheadOutcome.WASTE]
    assert fleet.books()[0].message


def test_a_job_that_does_not_run_keeps_its_copy_whatever_the_time(fleet: Looking) -> None:
    """It may be all that is left of it, should its node not come back."""
    fleet.begin()
    fleet.look()
    fleet.answer(fleet.pull(), wire_bytes=800)
    fleet.gone("a")
    fleet.wait(86_400)
    assert len(fleet.staged()) == 1


def test_a_restart_in_between_loses_nothing(fleet: Looking) -> None:
    fleet.begin()
    fleet.look()
    order = fleet.pull()
    fleet.with_rules()  # the order is in the outbox, the replica and its books are rows
    fleet.look()
    assert [one.command_id for one in fleet.orders("b")] == [order.command_id]
    fleet.answer(order, wire_bytes=800)
    fleet.with_rules()
    fleet.look(70)
    (book,) = fleet.books()
    assert (book.wire_bytes, book.command_ids) == (800, ())
    assert fleet.orders("b") == []


def test_what_is_under_way_is_not_given_up_because_nobody_has_come_back_yet(fleet: Looking) -> None:
    """A coordinator that has just started waits for the nodes that its database knows."""
    fleet.begin()
    fleet.look()
    order = fleet.pull()
    fleet.gone("a")
    fleet.world.startup.awaited_nodes = {"a"}
    fleet.ensure()
    assert [one.command_id for one in fleet.orders("b")] == [order.command_id]
    fleet.world.startup.awaited_nodes = set()
    fleet.ensure()
    assert fleet.orders("b") == [], "it came, and went again"


def test_bytes_that_crossed_the_link_are_booked_also_when_nobody_waits_for_them(fleet: Looking) -> None:
    fleet.begin()
    fleet.look()
    order = fleet.pull()
    with fleet.database.transaction() as tx:
        fleet.saga.begin(tx, MigrationKind.MOVE, tx.jobs.get("j-1"), tx.nodes.get("b"), cause="planner")
    with fleet.database.transaction() as tx:
        fleet.replication.ensure(tx)
    fleet.answer(order, wire_bytes=300)
    assert fleet.books()[0].wire_bytes == 300
    with fleet.database.transaction() as tx:
        tx.jobs.put(model.replace(tx.jobs.get("j-1"), node_id="b", site="east", epoch=2))
    fleet.ensure()
    assert fleet.books()[0].outcome is AheadOutcome.OVERTAKEN


def test_the_budget_of_a_day_bounds_wrong_guesses(fleet: Looking) -> None:
    fleet.with_rules(bytes_per_day=FULL_BYTES + 500, keep_s=1.0)
    fleet.begin()
    for _ in range(2):
        fleet.look(70)
        if fleet.staged():
            fleet.answer(fleet.pull(), wire_bytes=800)
            with fleet.database.transaction() as tx:
                (one,) = tx.replicas.of_job("j-1")
                tx.replicas.put(model.replace(one, expires_utc=fleet.clock.utc()))
            fleet.ensure()
            for command in fleet.orders("b"):
                fleet.answer(command)
    assert len(fleet.books()) == 1, "800 of 1329 bytes are spent, and 829 are needed"
    fleet.clock.now_s += 86_400
    with fleet.database.transaction() as tx:
        assert fleet.ahead._affords(tx, tx.jobs.get("j-1"), FULL_BYTES), "another day, another budget"


def test_the_job_s_own_rule_takes_over_the_node_where_one_was_staged(fleet: Looking) -> None:
    fleet.begin(rules=CheckpointRules(replicate_every="100s", timeout_s=10.0, replicate_to=("east",)))
    fleet.look_only()
    assert [one.reason for one in fleet.staged()] == [ReplicaReason.AHEAD]
    fleet.ensure()
    assert [(one.node_id, one.reason) for one in fleet.staged()] == [("b", ReplicaReason.RULE)]
    assert fleet.books()[0].outcome is AheadOutcome.KEPT
