"""A base staged ahead: when, where and under which limit it goes, and what its books say of it afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from heliotrope.coordinator.config import StageAheadConfig
from heliotrope.coordinator.daemon import open_sites
from heliotrope.coordinator.forecasts.clock import TraceClock
from heliotrope.coordinator.forecasts.site import SiteForecast, open_site
from heliotrope.coordinator.forecasts.siteconfig import SiteConfig, TraceSource
from heliotrope.coordinator.forecasts.windows import WindowRule
from heliotrope.coordinator.managers import outlook
from heliotrope.coordinator.managers.ahead import AheadManager
from heliotrope.coordinator.managers.planner import PlannerManager
from heliotrope.coordinator.managers.replication import ReplicationManager
from heliotrope.coordinator.server import reports
from heliotrope.coordinator.state import model, order_model
from heliotrope.coordinator.state.database import Database
from heliotrope.coordinator.state.model import AheadOutcome, Copy, Replica, ReplicaReason, StagedAhead
from heliotrope.coordinator.state.order_model import Command
from heliotrope.foundation import jobspec
from heliotrope.foundation.errors import InvalidInput
from heliotrope.foundation.jobspec import CheckpointRules
from heliotrope.foundation.model import JobState, MigrationKind

from .managed import START, Managed

SUNSET_MIN = 30  # west's window ends then, and east's opens
STATE_BYTES = 1000
FULL_BYTES = round(STATE_BYTES / 1.207)  # the prior of a full copy
ON: dict[str, Any] = {"stage_ahead": "on"}


def forecasts(folder: Path) -> dict[str, SiteForecast]:
    """West is green until half past, east from then on, north never."""
    lines = ["datetime_utc,west,east,north"]
    for minute in range(0, 600, 10):
        evening = minute >= SUNSET_MIN
        stamp = (START + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%S")
        lines.append(f"{stamp},{'0.1' if evening else '0.9'},{'0.9' if evening else '0.1'},0.1")
    (folder / "green.csv").write_text("\n".join(lines) + "\n")
    clock = TraceClock(START, START, 1.0)
    return {
        name: open_site(
            SiteConfig(
                name=name,
                latitude=0.0,
                longitude=0.0,
                grid_intensity_g_per_kwh=400.0,
                renewable=TraceSource(file="green.csv", zone=name, unit="ratio"),
                window=WindowRule(rule="renewable_above", threshold=0.5),
            ),
            clock,
            folder,
        )
        for name in ("west", "east", "north")
    }


class Looking(Managed):
    """With the manager that looks ahead, in the coordinator's order."""

    def with_rules(self, **rules: Any) -> None:
        """Also what a restart of the coordinator does: managers know nothing but the database."""
        config = model.replace(self.world.config, stage_ahead=StageAheadConfig(**rules))  # type: ignore[type-var]
        self.world.config = config
        self.ahead = AheadManager(self.world, PlannerManager(self.world, self.saga))
        self.replication = ReplicationManager(self.world)

    def look(self, seconds: float = 0.0) -> None:
        """Time passes; the manager looks ahead, and the others follow."""
        self.clock.now_s += seconds
        self.look_only()
        self.ensure()

    def look_only(self) -> None:
        """As many passes as it takes to have looked at everything."""
        self.world.present["a"].job_power_w = {"j-1": 200.0}
        with self.database.transaction() as tx:
            self.ahead.ensure(tx)
        while self.ahead.is_looking:
            with self.database.transaction() as tx:
                self.ahead.ensure(tx)

    def begin(self, *, rules: CheckpointRules | None = None, unchanged: int = 990, **policy: Any) -> None:
        """The job runs at a, with a checkpoint of which most is frozen."""
        self.run(rules=rules, **{**ON, **policy})
        self.report("a", step=10, checkpoints=(model.replace(self.checkpoint(1), unchanged_bytes=unchanged),))

    def staged(self) -> list[Replica]:
        with self.database.transaction() as tx:
            return tx.replicas.of_job("j-1")

    def books(self) -> list[StagedAhead]:
        with self.database.transaction() as tx:
            return tx.staged_ahead.of_job("j-1")

    def pull(self, node_id: str = "b") -> Command:
        (command,) = (one for one in self.orders(node_id) if isinstance(one.order, order_model.Pull))
        return command

    def held_by(self, node_id: str, site: str, epoch: int = 2) -> None:
        with self.database.transaction() as tx:
            tx.jobs.put(model.replace(tx.jobs.get("j-1"), node_id=node_id, site=site, epoch=epoch))


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Looking]:
    database = Database.in_folder(tmp_path)
    made = Looking(database)
    made.world.sites.update(forecasts(tmp_path))
    made.with_rules()
    for node_id in "abd":
        made.hello(node_id)
    yield made
    database.close()


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


def test_the_job_s_own_rule_takes_over_the_node_where_one_was_staged(fleet: Looking) -> None:
    fleet.begin(rules=CheckpointRules(replicate_every="100s", timeout_s=10.0, replicate_to=("east",)))
    fleet.look_only()
    assert [one.reason for one in fleet.staged()] == [ReplicaReason.AHEAD]
    fleet.ensure()
    assert [(one.node_id, one.reason) for one in fleet.staged()] == [("b", ReplicaReason.RULE)]
    assert fleet.books()[0].outcome is AheadOutcome.KEPT
