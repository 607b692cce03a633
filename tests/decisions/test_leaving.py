"""Jobs of drained nodes: what holds for them and what does not, whose turn it is, and places that refused a job."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliotrope.coordinator.decisions import explain
from heliotrope.coordinator.decisions.decision import Decision
from heliotrope.coordinator.decisions.planner import plan
from heliotrope.coordinator.decisions.snapshot import (
    JobView,
    LinkView,
    NodeView,
    Settings,
    SiteView,
    Snapshot,
    TransferView,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LINKS = (LinkView(source="*", destination="*", bandwidth_bytes_per_s=1e8),)
ON_ITS_WAY = TransferView(source="home", destination="green")


def site(name: str, share: float, window_s: float, *, slots: int = 8, nodes: int = 1) -> SiteView:
    there = tuple(NodeView(node=f"{name}-{number}", slots_free=slots) for number in range(1, nodes + 1))
    return SiteView(name=name, nodes=there, nonrenewable_profile=(share,) * 30, window_remaining_s=window_s)


HOME = SiteView(name="home", nodes=(NodeView(node="home-1", schedulable=False),), nonrenewable_profile=(0.9,) * 30)
GREEN, DARK = site("green", 0.1, 900.0), site("dark", 0.8, 0.0)


def leaving(name: str = "train", **more: Any) -> JobView:
    values: dict[str, Any] = {"site": "home", "node": "home-1", "state_bytes": 1e8, "power_w": 100.0}
    marks = {"must_leave": True, "takes_turns": True}
    return JobView(job_id=f"id-{name}", name=name, **(values | marks | more))


def decide(*jobs: JobView, sites: tuple[SiteView, ...] = (HOME, GREEN, DARK), **more: Any) -> dict[str, Decision]:
    found = plan(Snapshot(utc=NOW, jobs=jobs, sites=sites, links=LINKS, **more)).decisions
    return {one.job_name: one for one in found}


def test_greenness_is_soft_and_the_policy_is_hard() -> None:
    assert decide(leaving(since_move_s=0.0, moves_count=99))["train"].destination_site == "green"
    assert decide(leaving(), sites=(HOME, DARK))["train"].destination_site == "dark"
    kept = decide(leaving(sites_allowed=("home",)))["train"]
    assert (kept.action, kept.binding) == ("stay", "capacity")
    assert decide(leaving(movable=False))["train"].binding == "unmovable"


def test_a_job_without_a_checkpoint_is_asked_for_one_rather_than_left_behind() -> None:
    assert decide(leaving(has_checkpoint=False, state_bytes=0.0))["train"].action == "move"


def test_two_at_once_per_link_and_the_others_say_what_they_wait_for() -> None:
    found = decide(*(leaving(name) for name in "abcd"))
    assert [one.action for one in found.values()] == ["move", "move", "stay", "stay"]
    assert (found["c"].binding, found["c"].rejected[0].site) == ("link_busy", "green")
    assert "waits for its turn on the link" in found["c"].reason
    found = decide(*(leaving(name) for name in "ab"), transfers=(ON_ITS_WAY,))
    assert [one.action for one in found.values()] == ["move", "stay"]
    found = decide(*(leaving(name) for name in "ab"), transfers=(ON_ITS_WAY,), settings=Settings(turns_per_link=3))
    assert [one.action for one in found.values()] == ["move", "move"]


def test_one_that_can_go_nowhere_takes_no_turn() -> None:
    found = decide(leaving("a", gpu_count=1), leaving("b"), leaving("c"))
    assert {name: one.action for name, one in found.items()} == {"a": "stay", "b": "move", "c": "move"}


def test_the_nearest_deadline_goes_first_then_priority() -> None:
    jobs = [leaving("idle"), leaving("urgent", priority=5), leaving("soon", leave_by_s=60.0)]
    found = decide(*jobs, transfers=(ON_ITS_WAY,))
    assert {name for name, one in found.items() if one.action == "move"} == {"soon"}
    found = decide(*jobs[:2], transfers=(ON_ITS_WAY,))
    assert {name for name, one in found.items() if one.action == "move"} == {"urgent"}


def test_stopped_jobs_take_turns_too_but_not_where_their_checkpoint_lies() -> None:
    stopped = [leaving(name, node="", state="PENDING", must_leave=False) for name in "abc"]
    found = decide(*stopped)
    assert {name: (one.action, one.binding) for name, one in found.items()} == {
        "a": ("place", "ok"),
        "b": ("place", "ok"),
        "c": ("none", "link_busy"),
    }
    near = SiteView(name="home", nodes=(NodeView(node="home-2", slots_free=8),), nonrenewable_profile=(0.1,) * 30)
    assert {one.action for one in decide(*stopped, sites=(near,)).values()} == {"place"}


def test_a_node_that_refused_is_passed_over_and_what_it_said_is_shown() -> None:
    said = {"green-1": "requires /data: absent"}
    found = decide(leaving(nodes_refused=said))["train"]
    assert found.destination_site == "dark"
    assert "requires /data: absent" in explain.render(found)
    two = site("green", 0.1, 900.0, nodes=2)
    assert decide(leaving(nodes_refused=said), sites=(HOME, two))["train"].destination_node == "green-2"
    waits = leaving(node="", site="", state="PENDING", must_leave=False, nodes_refused=said)
    found = decide(waits, sites=(HOME, GREEN))["train"]
    assert (found.action, found.binding) == ("none", "refused")
    assert "requires /data: absent" in found.reason


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["green", "dark", "home"]), st.booleans(), st.integers(0, 3)), max_size=12),
    st.integers(0, 3),
    st.integers(1, 3),
)
def test_no_plan_exceeds_a_links_turns_or_fills_a_drained_node(
    wanted: list[tuple[str, bool, int]], busy: int, limit: int
) -> None:
    jobs = [
        leaving(
            f"j{index}",
            sites_preferred=(where,),
            priority=priority,
            **({"state": "PENDING", "node": "", "must_leave": False} if is_stopped else {}),
        )
        for index, (where, is_stopped, priority) in enumerate(wanted)
    ]
    found = decide(*jobs, transfers=(ON_ITS_WAY,) * busy, settings=Settings(turns_per_link=limit))
    assert all(one.destination_node != "home-1" for one in found.values())
    to_green = sum(one.destination_site == "green" for one in found.values())
    assert to_green <= max(limit - busy, 0)
    assert sum(one.destination_site == "dark" for one in found.values()) <= limit
    # Whoever stays has a reason, and it is never "nothing stands against it".
    assert all(one.binding != "ok" for one in found.values() if one.action in ("stay", "none"))


@pytest.mark.parametrize("state", ["RUNNING", "PENDING"])
def test_the_same_snapshot_gives_the_same_plan(state: str) -> None:
    jobs = [leaving(name, state=state, node="home-1" if state == "RUNNING" else "") for name in "dcba"]
    assert decide(*jobs) == decide(*jobs)
