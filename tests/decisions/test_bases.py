"""What already lies at a site makes a move there cheap: in the terms, in the choice of the node, and in the words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliotrope.coordinator.decisions import explain, snapshot
from heliotrope.coordinator.decisions.decision import Decision
from heliotrope.coordinator.decisions.planner import plan
from heliotrope.coordinator.decisions.snapshot import HeldView, JobView, LinkView, NodeView, SiteView, Snapshot

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LINKS = (LinkView(source="*", destination="*", bandwidth_bytes_per_s=1e7, e_net_j_per_byte=1e-6),)


def site(name: str, share: float, window_s: float, *nodes: NodeView) -> SiteView:
    there = nodes or (NodeView(node=f"{name}-1"),)
    return SiteView(name=name, nodes=there, nonrenewable_profile=(share,) * 60, window_remaining_s=window_s)


def job(name: str = "train", **more: Any) -> JobView:
    values: dict[str, Any] = {
        "job_id": f"id-{name}",
        "name": name,
        "site": "home",
        "node": "home-1",
        "state_bytes": 1e9,
        "wire_bytes": 8e8,
        "move_wire_bytes": 1.6e9,
        "power_w": 200.0,
    }
    return JobView(**(values | more))


def held(node: str = "green-1", **more: Any) -> HeldView:
    values: dict[str, Any] = {"node": node, "site": node[:-2], "age_s": 40.0, "wire_bytes": 1e7, "move_wire_bytes": 3e7}
    return HeldView(**(values | more))


def decide(*jobs: JobView, sites: tuple[SiteView, ...] = ()) -> dict[str, Decision]:
    places = (site("home", 0.9, 0.0), *(sites or (site("green", 0.1, 600.0),)))
    return {one.job_name: one for one in plan(Snapshot(utc=NOW, jobs=jobs, sites=places, links=LINKS)).decisions}


def test_a_base_turns_an_infeasible_move_into_a_cheap_one_and_the_explanation_says_so() -> None:
    assert decide(job())["train"].binding == "time"
    found = decide(job(held=(held(why="a replica"),)))["train"]
    assert (found.action, found.destination_node) == ("move", "green-1")
    assert found.chosen is not None and found.chosen.terms is not None
    terms = found.chosen.terms
    assert (terms.wire_bytes, terms.move_wire_bytes, terms.fresh_move_wire_bytes) == (1e7, 3e7, 1.6e9)
    assert terms.sending_cost_j == pytest.approx(3e7 * 1e-6 * (0.9 + 0.1) / 2)
    text = explain.render(found)
    assert "there already, at green-1: a checkpoint 40.0 s older (a replica); without it S_move = 1.60 GB" in text
    same = explain.render(decide(job(held=(held(age_s=0.0),)))["train"])
    assert "the newest checkpoint" in same
    assert "there already" not in explain.render(decide(job())["train"])


def test_of_two_nodes_the_one_with_the_base_is_chosen_and_of_two_bases_the_better_one() -> None:
    nodes = tuple(NodeView(node=f"green-{number}") for number in (1, 2, 3))
    places = (site("green", 0.1, 600.0, *nodes),)
    assert decide(job(held=(held("green-3"),)), sites=places)["train"].destination_node == "green-3"
    two = (held("green-2", move_wire_bytes=9e7), held("green-3"))
    assert decide(job(held=two), sites=places)["train"].destination_node == "green-3"
    assert decide(job(held=two, nodes_refused={"green-3": "no"}), sites=places)["train"].destination_node == "green-2"


def test_a_base_at_a_node_without_room_counts_for_nothing() -> None:
    full = (NodeView(node="green-1", slots_free=0), NodeView(node="green-2"))
    found = decide(job(held=(held(),)), sites=(site("green", 0.1, 600.0, *full),))["train"]
    assert found.binding == "time"
    assert found.rejected[0].terms is not None and found.rejected[0].terms.base_age_s is None


def test_a_job_whose_base_s_node_an_earlier_pick_took_is_judged_without_it() -> None:
    nodes = (NodeView(node="green-1"), NodeView(node="green-2"))
    places = (site("green", 0.1, 600.0, *nodes),)
    found = decide(job("a", held=(held(),), priority=1), job("b", held=(held(),)), sites=places)
    assert found["a"].destination_node == "green-1"
    assert (found["b"].action, found["b"].binding) == ("stay", "time")
    # The node it was offered is free again for whoever needs no base.
    third = job("c", wire_bytes=1e7, move_wire_bytes=3e7, priority=-1)
    found = decide(job("a", held=(held(),), priority=1), job("b", held=(held(),)), third, sites=places)
    assert found["c"].destination_node == "green-2"
    # One that is feasible without it goes all the same, with the terms of what it will really send.
    easy = job("b", held=(held(),), wire_bytes=2e8, move_wire_bytes=1e9)
    found = decide(job("a", held=(held(),), priority=1), easy, sites=places)
    assert found["b"].destination_node == "green-2"
    assert found["b"].chosen is not None and found["b"].chosen.terms is not None
    assert found["b"].chosen.terms.wire_bytes == 2e8 and found["b"].chosen.base_node == ""


def test_snapshots_with_bases_and_older_ones_without_are_read_back() -> None:
    full = Snapshot(utc=NOW, jobs=(job(held=(held(),)),))
    assert snapshot.decode(snapshot.encode(full)) == full
    old = snapshot.encode(full).replace(b'"held":[', b'"unknown":[')
    assert snapshot.decode(old).jobs[0].held == ()


amounts = st.floats(0, 1e10)


@settings(deadline=None)
@given(amounts, amounts, amounts, amounts, st.floats(0, 1e5))
def test_a_smaller_base_figure_never_makes_a_pair_worse(
    wire: float, extra: float, held_wire: float, held_extra: float, age_s: float
) -> None:
    """And without one the terms are those of a job of which nothing lies anywhere."""
    plain = job(wire_bytes=wire, move_wire_bytes=wire + extra)
    base = held(
        age_s=age_s, wire_bytes=min(held_wire, wire), move_wire_bytes=min(held_wire, wire) + min(held_extra, extra)
    )
    before, after = decide(plain)["train"], decide(msgspec.structs.replace(plain, held=(base,)))["train"]
    one, other = (found.chosen or found.rejected[0] for found in (before, after))
    assert one.terms is not None and other.terms is not None
    assert other.terms.fresh_move_wire_bytes == one.terms.move_wire_bytes
    assert (other.terms.disruption_s or 0) <= (one.terms.disruption_s or 0)
    assert (other.terms.net_j or 0) >= (one.terms.net_j or 0)
    assert before.action != "move" or after.action == "move"
    elsewhere = msgspec.structs.replace(plain, held=(held("nowhere-1"),))
    assert decide(elsewhere) == decide(plain)
