"""A base staged ahead: when it goes, where, under which limit, and what the planner makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from heliotrope.coordinator.config import StageAheadConfig
from heliotrope.coordinator.forecasts.site import SiteForecast
from heliotrope.coordinator.forecasts.windows import WindowRule
from heliotrope.coordinator.managers import outlook
from heliotrope.coordinator.managers.planner import PlannerManager
from heliotrope.coordinator.sites import open_sites
from heliotrope.coordinator.state import model, order_model
from heliotrope.coordinator.state.model import AheadOutcome, Copy, ReplicaReason
from heliotrope.foundation import jobspec
from heliotrope.foundation.errors import InvalidInput
from heliotrope.foundation.jobspec import CheckpointRules
from heliotrope.foundation.model import MigrationKind

from .looking import FULL_BYTES, SUNSET_MIN, Looking, looking
from .managed import START


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Looking]:
    with looking(tmp_path) as made:
        yield made


def test_the_base_goes_once_to_where_the_job_will_move_and_the_move_closes_the_books(fleet: Looking) -> None:
    fleet.begin()
    fleet.look()
    (replica,) = fleet.staged()
    assert (replica.node_id, replica.reason) == ("b", ReplicaReason.AHEAD)
    order = fleet.pull().order
    assert isinstance(order, order_model.Pull)
    assert (order.replica, order.source_node, order.rate_limit_bytes_per_s) == (True, "a", 0)
    fleet.answer(fleet.pull(), wire_bytes=800)
    (book,) = fleet.books()
    assert (book.wire_bytes, book.outcome, book.expected_wire_bytes) == (800, AheadOutcome.OPEN, FULL_BYTES)
    assert book.leave_utc == START + timedelta(minutes=SUNSET_MIN)
    assert "leaves west in 1800.0 s, for east in 100.0 % of the time after; saves 98" in book.reason
    # The network's figure for a link that nobody declared, at the one intensity of both ends.
    assert book.energy_j == pytest.approx(800 * 3.6e-5)
    assert book.carbon_g == pytest.approx(book.energy_j / 3.6e6 * 400.0)
    fleet.look(70)
    assert fleet.orders("b") == [], "it is sent once"
    with fleet.database.transaction() as tx:
        moved = fleet.saga.begin(tx, MigrationKind.MOVE, tx.jobs.get("j-1"), tx.nodes.get("b"), cause="planner")
    fleet.held_by("b", "east")
    fleet.ensure()
    (book,) = fleet.books()
    assert (book.outcome, book.migration_id) == (AheadOutcome.HIT, moved.migration_id)
    assert not any(isinstance(one.order, order_model.Release) for one in fleet.orders("b")), "it is the holder's"
    assert fleet.staged() == []


def test_the_planner_knows_of_it_and_the_move_expects_the_same(fleet: Looking) -> None:
    fleet.begin()
    fleet.look()
    with fleet.database.transaction() as tx:
        (before,) = PlannerManager(fleet.world, fleet.saga).foresight(tx).jobs
        assert before.held == ()
    fleet.answer(fleet.pull(), wire_bytes=800)
    with fleet.database.transaction() as tx:
        (after,) = PlannerManager(fleet.world, fleet.saga).foresight(tx).jobs
        (held,) = after.held
        assert (held.node, held.site, held.age_s, held.why) == ("b", "east", 0.0, "staged ahead")
        assert after.move_wire_bytes is not None and held.move_wire_bytes < 0.05 * after.move_wire_bytes
        job = tx.jobs.get("j-1")
        expected = fleet.saga.begin(tx, MigrationKind.MOVE, job, tx.nodes.get("b"), cause="planner").expected
    assert expected is not None
    assert (expected.wire_bytes, expected.standstill_wire_bytes) == (held.move_wire_bytes, held.wire_bytes)
    fleet.world.present.pop("b")
    with fleet.database.transaction() as tx:
        assert outlook.held_views(fleet.world, tx, job) == (), "what cannot be reached is no base"


@pytest.mark.parametrize(
    ("rules", "policy"),
    [
        ({"jobs": "none"}, {}),
        ({}, {"stage_ahead": "auto"}),
        ({"jobs": "all"}, {"stage_ahead": "off"}),
        ({"sites": ("north",)}, {}),
        ({"bytes_per_day": FULL_BYTES - 1}, {}),
        ({}, {"stage_ahead_bytes_per_day": 10}),
        ({"within_s": 600.0}, {}),
        ({"least_saved_ratio": 0.99}, {}),
        ({}, {"sites_forbidden": ("east",)}),
    ],
)
def test_what_was_not_asked_for_or_does_not_pay_is_not_sent(
    fleet: Looking, rules: dict[str, Any], policy: dict[str, Any]
) -> None:
    fleet.with_rules(**rules)
    fleet.begin(**policy)
    fleet.look()
    assert fleet.staged() == [] and fleet.books() == []
    # The same job with nothing in the way: the refusal was the rule's.
    fleet.with_rules()
    fleet.begin()
    fleet.look()
    assert len(fleet.staged()) == 1


def test_full_training_is_not_sent_twice(fleet: Looking) -> None:
    """Of what changes everywhere a base saves two per cent."""
    fleet.begin(unchanged=0)
    fleet.look()
    assert fleet.staged() == []


def test_in_the_dark_only_under_a_limit(fleet: Looking) -> None:
    fleet.world.sites["west"] = _without_windows(fleet.world.sites["west"])
    fleet.begin()
    fleet.look()
    assert fleet.staged() == []
    fleet.with_rules(rate_limit_bytes_per_s=50)
    fleet.look()
    order = fleet.pull().order
    assert isinstance(order, order_model.Pull)
    assert order.rate_limit_bytes_per_s == 50


def _without_windows(forecast: SiteForecast) -> SiteForecast:
    """Its power is as green as it was, and none of its windows opens: the rule asks for more."""
    strict = model.replace(forecast.config, window=WindowRule(rule="renewable_above", threshold=0.95))  # type: ignore[type-var]
    return SiteForecast(strict, forecast.clock, forecast._sources)


def test_what_a_replica_sent_teaches_what_a_move_will_send(fleet: Looking) -> None:
    """A full copy first, then a delta against it: how much the job changes is measured before it ever moved."""
    fleet.begin(rules=CheckpointRules(replicate_every="100s", timeout_s=10.0), stage_ahead="off")
    fleet.ensure()
    fleet.answer(fleet.pull(), wire_bytes=800)
    fleet.clock.now_s += 101
    fleet.report("a", checkpoints=(fleet.checkpoint(2),))
    fleet.ensure()
    fleet.answer(fleet.pull(), wire_bytes=50)
    full, delta = fleet.job.wire_samples
    assert (full.wire_bytes, full.age_s, full.replica) == (800, None, True)
    assert (delta.wire_bytes, delta.age_s) == (50, 101.0)
    with fleet.database.transaction() as tx:
        (view,) = PlannerManager(fleet.world, fleet.saga).foresight(tx).jobs
    assert view.wire_bytes is not None and view.move_wire_bytes is not None
    assert view.move_wire_bytes - view.wire_bytes == pytest.approx(800, abs=1)
    assert view.held[0].why == "a replica"


def test_a_base_that_lies_there_already_is_not_sent_again(fleet: Looking) -> None:
    fleet.begin()
    with fleet.database.transaction() as tx:
        tx.jobs.add_copy(Copy(job_id="j-1", node_id="b", checkpoint=fleet.checkpoint(1)))
    fleet.look()
    assert fleet.staged() == []


def test_a_site_that_is_not_there_is_refused_by_name(fleet: Looking, tmp_path: Path) -> None:
    config = model.replace(  # type: ignore[type-var]
        fleet.world.config,
        stage_ahead=StageAheadConfig(sites=("east", "moon")),
        sites=(fleet.world.sites["east"].config,),
    )
    with pytest.raises(InvalidInput, match=r"field stage_ahead\.sites: no site 'moon'; configured are east"):
        open_sites(config, tmp_path, tmp_path, fleet.clock)


def test_the_guide_shows_the_rule_as_it_is() -> None:
    text = (Path(__file__).parents[2] / "docs" / "decisions.md").read_text(encoding="utf-8")
    rule, job = (text.partition(f"```toml\n[{head}]")[2].partition("```")[0] for head in ("stage_ahead", "policy"))
    parsed = msgspec.toml.decode("[stage_ahead]" + rule, type=dict[str, StageAheadConfig])
    assert parsed["stage_ahead"] == StageAheadConfig()
    shown = msgspec.toml.decode("[stage_ahead]" + rule)["stage_ahead"]
    assert set(shown) == set(StageAheadConfig.__struct_fields__)
    table = {"name": "train", "command": ["true"], **msgspec.toml.decode("[policy]" + job)}
    assert jobspec.from_table(table, where="guide").policy.stage_ahead == "on"
