"""Nodes that cannot take a job: another node of the site is taken, and where there is none the reason is told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from heliotrope.coordinator.decisions import explain
from heliotrope.coordinator.decisions.decision import Decision
from heliotrope.coordinator.decisions.planner import plan
from heliotrope.coordinator.decisions.snapshot import JobView, LinkView, NodeView, SiteView, Snapshot

LINKS = (LinkView(source="*", destination="*", bandwidth_bytes_per_s=1e8),)
WHY = "requires /data/x: absent at node green-1"


def site(name: str, share: float, window_s: float, *nodes: str) -> SiteView:
    return SiteView(
        name=name,
        nodes=tuple(NodeView(node=node) for node in nodes),
        nonrenewable_profile=(share,) * 30,
        profile_step_s=60.0,
        window_remaining_s=window_s,
    )


def decided(nodes: tuple[str, ...], **job: Any) -> Decision:
    sites = (site("dark", 0.9, 0.0, "dark-1"), site("green", 0.1, 900.0, *nodes))
    view = JobView(job_id="j", name="train", nodes_refused={"green-1": WHY}, **job)
    return plan(Snapshot(utc=datetime(2026, 3, 1, tzinfo=UTC), jobs=(view,), sites=sites, links=LINKS)).decisions[0]


RUNNING = {"site": "dark", "node": "dark-1", "state_bytes": 1e8, "load_s": 1.0, "downtime_s": 1.0, "power_w": 100.0}


def test_another_node_of_the_site_is_taken() -> None:
    for found in (decided(("green-1", "green-2"), **RUNNING), decided(("green-1", "green-2"), state="PENDING")):
        assert (found.destination_site, found.destination_node) == ("green", "green-2")


def test_a_running_job_stays_and_says_why() -> None:
    found = decided(("green-1",), **RUNNING)
    assert (found.action, found.binding) == ("stay", "refused")
    assert WHY in found.reason and WHY in explain.render(found)


def test_a_waiting_job_goes_elsewhere_or_waits_and_says_why() -> None:
    found = decided(("green-1",), state="PENDING")
    assert (found.action, found.destination_site) == ("place", "dark")
    assert f"green: refused: no node there can take the job now ({WHY})" in explain.render(found)
    waits = decided(("green-1",), state="PENDING", sites_allowed=("green",))
    assert waits.action == "none" and WHY in waits.reason
