"""Plans: moves, stays and placements that a person would make, and what no plan may ever do."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliotrope.coordinator.decisions import decision as records
from heliotrope.coordinator.decisions import snapshot as snapshots_of
from heliotrope.coordinator.decisions.decision import Decision
from heliotrope.coordinator.decisions.planner import plan
from heliotrope.coordinator.decisions.snapshot import JobView, LinkView, NodeView, Settings, SiteView, Snapshot
from heliotrope.foundation.errors import Corrupt

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LINKS = (LinkView(source="*", destination="*", bandwidth_bytes_per_s=1e8),)


def site(name: str, shares: tuple[float, ...], window_s: float, nodes: tuple[NodeView, ...] | None = None) -> SiteView:
    return SiteView(
        name=name,
        nodes=(NodeView(node=f"{name}-1"),) if nodes is None else nodes,
        nonrenewable_profile=shares,
        profile_step_s=60.0,
        window_remaining_s=window_s,
    )


def job(name: str = "train", **more: Any) -> JobView:
    values: dict[str, Any] = {
        "job_id": f"id-{name}",
        "name": name,
        "site": "dark",
        "node": "dark-1",
        "state_bytes": 1e8,
        "load_s": 1.0,
        "downtime_s": 1.0,
        "power_w": 100.0,
    }
    return JobView(**(values | more))


DARK = site("dark", (0.9,) * 30, 0.0)
GREEN = site("green", (0.1,) * 30, 900.0)
GREENER = site("greener", (0.05,) * 30, 900.0)


def decide(*jobs: JobView, sites: tuple[SiteView, ...] = (DARK, GREEN), **more: Any) -> tuple[Decision, ...]:
    return plan(Snapshot(utc=NOW, jobs=jobs, sites=sites, links=LINKS, **more)).decisions


def test_moves_to_the_greenest_open_window() -> None:
    (found,) = decide(job(), sites=(DARK, GREEN, GREENER))
    assert (found.action, found.destination_site, found.destination_node) == ("move", "greener", "greener-1")
    assert found.binding == "ok"
    assert [(item.site, item.binding) for item in found.rejected] == [("green", "outranked")]


def test_moves_before_the_window_here_closes() -> None:
    closing = site("closing", (0.1, 0.1) + (0.9,) * 28, 120.0)
    (found,) = decide(job(site="closing"), sites=(closing, GREEN))
    assert (found.action, found.destination_site) == ("move", "green")
    # With as much window left as there, there is nothing to gain.
    lasting = site("lasting", (0.1,) * 30, 900.0)
    (found,) = decide(job(site="lasting"), sites=(lasting, GREEN))
    assert (found.action, found.binding) == ("stay", "break_even")


def test_no_ping_pong() -> None:
    (found,) = decide(job(since_move_s=599.9))
    assert (found.action, found.binding) == ("stay", "dwell")
    nearly = site("nearly", (0.88,) * 30, 900.0)
    (found,) = decide(job(), sites=(DARK, nearly))
    assert (found.action, found.binding) == ("stay", "hysteresis")
    # Having moved, a job does not want back.
    (found,) = decide(job(site="green", since_move_s=1e6))
    assert (found.action, found.binding) == ("stay", "no_window")


def test_capacity_goes_to_the_larger_gain_then_by_name() -> None:
    small, large = job("small", power_w=100.0), job("large", power_w=300.0)
    found = {item.job_name: item for item in decide(small, large)}
    assert (found["large"].action, found["small"].action) == ("move", "stay")
    assert (found["small"].binding, found["small"].rejected[0].site) == ("capacity", "green")
    actions = {item.job_name: item.action for item in decide(job("b"), job("a"))}
    assert actions == {"a": "move", "b": "stay"}
    actions = {item.job_name: item.action for item in decide(job("urgent", priority=1), large)}
    assert actions == {"urgent": "move", "large": "stay"}


def test_the_second_choice_when_the_first_is_taken() -> None:
    found = {item.job_name: item for item in decide(job("a"), job("b"), sites=(DARK, GREEN, GREENER))}
    assert {found["a"].destination_site, found["b"].destination_site} == {"green", "greener"}
    assert ("greener", "capacity") in [(item.site, item.binding) for item in found["b"].rejected]


def test_nodes_of_a_site_fill_one_after_the_other() -> None:
    nodes = (
        NodeView(node="big", slots_free=4, gpu_free=8, gpu_model="H200"),
        NodeView(node="small", slots_free=4, gpu_free=2, gpu_model="H200"),
        NodeView(node="other", slots_free=4, gpu_free=8, gpu_model="A100"),
        NodeView(node="drained", schedulable=False, slots_free=4, gpu_free=2, gpu_model="H200"),
    )
    need = {"gpu_count": 2, "gpu_model": "H200"}
    green = site("green", (0.1,) * 30, 900.0, nodes)
    found = decide(*(job(name, **need) for name in "abcdef"), sites=(DARK, green))
    assert Counter(item.destination_node for item in found) == {"small": 1, "big": 4, "": 1}
    assert found[0].destination_node == "small"  # the tightest first
    assert found[5].binding == "capacity"


def test_preferred_sites_come_first_among_the_feasible() -> None:
    (found,) = decide(job(sites_preferred=("green",)), sites=(DARK, GREEN, GREENER))
    assert found.destination_site == "green"
    (found,) = decide(job(sites_preferred=("dark",)), sites=(DARK, GREEN))
    assert found.destination_site == "green"


def test_a_drained_node_is_left_even_for_its_neighbour() -> None:
    nodes = (NodeView(node="dark-1", schedulable=False), NodeView(node="dark-2"))
    (found,) = decide(job(must_leave=True), sites=(site("dark", (0.9,) * 30, 0.0, nodes),))
    assert (found.action, found.destination_site, found.destination_node) == ("move", "dark", "dark-2")
    assert "must be left" in found.reason


def test_placing() -> None:
    waiting = job(state="PENDING", site="", node="")
    (found,) = decide(waiting, sites=(DARK, GREEN, GREENER))
    assert (found.action, found.destination_site, found.destination_node) == ("place", "greener", "greener-1")
    (found,) = decide(waiting, sites=(DARK,))
    assert (found.action, found.destination_site) == ("place", "dark")  # no window anywhere: it still runs
    (found,) = decide(msgspec.structs.replace(waiting, sites_preferred=("dark",)), sites=(DARK, GREEN))
    assert found.destination_site == "dark"
    (found,) = decide(msgspec.structs.replace(waiting, sites_allowed=("dark",)), sites=(DARK, GREEN))
    assert found.destination_site == "dark"
    (found,) = decide(waiting, sites=(site("unknown", (), 0.0), DARK))
    assert found.destination_site == "dark"
    (found,) = decide(waiting, sites=(site("unknown", (), 0.0),))
    assert found.destination_site == "unknown"


def test_a_window_that_lasts_beats_one_that_closes_at_once() -> None:
    closing = site("closing", (0.05,) + (0.9,) * 29, 60.0)
    (found,) = decide(job(state="PENDING", site="", node=""), sites=(closing, GREEN))
    assert found.destination_site == "green"


def test_what_waits_comes_before_what_moves() -> None:
    found = {item.job_name: item for item in decide(job("mover"), job("new", state="PENDING", site="", node=""))}
    assert found["new"].destination_site == "green"
    assert (found["mover"].action, found["mover"].binding) == ("stay", "capacity")


def test_nowhere_to_go() -> None:
    full = site("full", (0.1,) * 30, 900.0, (NodeView(node="full-1", slots_free=0),))
    (found,) = decide(job(state="PENDING", site="", node=""), sites=(full,))
    assert (found.action, found.binding) == ("none", "capacity")
    assert "no site can take it" in found.reason
    (found,) = decide(job(state="PENDING", site="", node=""), sites=())
    assert (found.action, found.binding) == ("none", "capacity")
    assert decide(sites=()) == decide() == ()
    (found,) = decide(job(), sites=(DARK,))
    assert (found.action, found.binding) == ("stay", "here")


def test_a_checkpoint_that_cannot_travel_keeps_its_job_there() -> None:
    stranded = job(state="RECOVERING", node="")
    found = plan(Snapshot(utc=NOW, jobs=(stranded,), sites=(DARK, GREEN), links=())).decisions[0]
    assert (found.action, found.destination_site) == ("place", "dark")
    assert [(item.site, item.binding) for item in found.rejected] == [("green", "unreachable")]


@pytest.mark.parametrize("state", ["MOVING", "PAUSED", "FINISHED", "PREPARING", "LOST"])
def test_nothing_is_decided_in_other_states(state: str) -> None:
    (found,) = decide(job(state=state))
    assert (found.action, found.binding) == ("none", "busy")
    assert state in found.reason


# --- what no plan may ever do -------------------------------------------------------------------------------------

NAMES = ("a", "b", "c", "d", "e")
MODELS = ("", "H200", "A100")
subsets = st.lists(st.sampled_from(NAMES), max_size=2, unique=True).map(tuple)


@st.composite
def fleets(draw: st.DrawFn) -> Snapshot:
    names = NAMES[: draw(st.integers(1, 5))]
    views = []
    for name in names:
        nodes = tuple(
            NodeView(
                node=f"{name}{k}",
                schedulable=draw(st.booleans()),
                slots_free=draw(st.integers(0, 2)),
                gpu_free=draw(st.integers(0, 3)),
                gpu_model=draw(st.sampled_from(MODELS)),
            )
            for k in range(draw(st.integers(0, 2)))
        )
        shares = tuple(draw(st.lists(st.floats(0.0, 1.0), max_size=3)))
        views.append(site(name, shares, draw(st.floats(0.0, 300.0)), nodes))
    jobs = tuple(
        job(
            f"j{k}",
            state=draw(st.sampled_from(["RUNNING", "RUNNING", "RUNNING", "PENDING", "MOVING"])),
            site=draw(st.sampled_from(names)),
            node="",
            state_bytes=draw(st.floats(0.0, 1e9)),
            alpha=draw(st.floats(0.05, 1.0)),
            power_w=draw(st.floats(0.0, 500.0)),
            since_move_s=draw(st.one_of(st.none(), st.floats(0.0, 200.0))),
            moves_count=draw(st.integers(0, 3)),
            sites_allowed=draw(subsets),
            sites_forbidden=draw(subsets),
            sites_preferred=draw(subsets),
            movable=draw(st.booleans()),
            must_leave=draw(st.sampled_from([False, False, False, True])),
            gpu_count=draw(st.integers(0, 2)),
            gpu_model=draw(st.sampled_from(MODELS)),
            priority=draw(st.integers(0, 1)),
        )
        for k in range(draw(st.integers(1, 6)))
    )
    links = tuple(
        LinkView(
            source=source,
            destination=destination,
            bandwidth_bytes_per_s=draw(st.sampled_from([0.0, 1e7, 1e9])),
            reachable=draw(st.booleans()),
        )
        for source in names
        for destination in names
        if draw(st.booleans())
    )
    rules = Settings(dwell_s=100.0, min_gain_ratio=0.02, moves_per_day=2, rejected_kept=draw(st.integers(0, 6)))
    return Snapshot(utc=NOW, jobs=jobs, sites=tuple(views), links=links, settings=rules)


def check_hard(snapshot: Snapshot, one: JobView, found: Decision) -> None:
    """The constraints that hold for every job that is started somewhere."""
    views = {view.name: view for view in snapshot.sites}
    node = {item.node: item for item in views[found.destination_site].nodes}[found.destination_node]
    assert node.schedulable
    if one.gpu_count and one.gpu_model:
        assert node.gpu_model == one.gpu_model
    assert found.destination_site not in one.sites_forbidden
    assert not one.sites_allowed or found.destination_site in one.sites_allowed
    if found.destination_site != one.site and one.state_bytes > 0:
        link = next(
            item for item in snapshot.links if (item.source, item.destination) == (one.site, found.destination_site)
        )
        assert link.reachable
        assert link.bandwidth_bytes_per_s > 0


def check_soft(snapshot: Snapshot, one: JobView, found: Decision) -> None:
    """What else holds for a move that nothing forces."""
    assert one.movable
    assert found.destination_site != one.site
    assert one.since_move_s is None or one.since_move_s >= snapshot.settings.dwell_s
    assert one.moves_count < snapshot.settings.moves_per_day
    assert found.chosen is not None
    terms = found.chosen.terms
    assert terms is not None
    assert terms.disruption_s is not None
    assert terms.net_j is not None
    assert terms.disruption_s < one.alpha * terms.window_s
    assert terms.net_j > 0


@given(snapshot=fleets())
@settings(max_examples=150, deadline=None)
def test_a_plan_never_breaks_a_hard_constraint(snapshot: Snapshot) -> None:
    found = plan(snapshot).decisions
    assert [item.job_id for item in found] == [one.job_id for one in snapshot.jobs]
    slots: Counter[str] = Counter()
    gpus: Counter[str] = Counter()
    for one, item in zip(snapshot.jobs, found, strict=True):
        if item.action in ("place", "move"):
            check_hard(snapshot, one, item)
            slots[item.destination_node] += 1
            gpus[item.destination_node] += one.gpu_count
        if item.action == "move":
            assert one.state == "RUNNING"
            if not one.must_leave:
                check_soft(snapshot, one, item)
        if item.action == "place":
            assert one.state == "PENDING"
        if item.action == "stay":  # never a feasible site left unused
            assert item.binding not in ("ok", "outranked")
            assert all(other.binding not in ("ok", "outranked") for other in item.rejected)
    for view in snapshot.sites:
        for node in view.nodes:
            assert slots[node.node] <= node.slots_free
            assert gpus[node.node] <= node.gpu_free


@given(snapshot=fleets())
@settings(max_examples=60, deadline=None)
def test_replayed_from_its_record_a_plan_is_the_same(snapshot: Snapshot) -> None:
    first = plan(snapshot)
    again = plan(snapshots_of.decode(snapshots_of.encode(snapshot)))
    assert records.encode(again) == records.encode(first)
    assert records.decode(records.encode(first)) == first


@given(snapshot=fleets(), order=st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_records_changes_nothing(snapshot: Snapshot, order: Any) -> None:
    sites, jobs, links = list(snapshot.sites), list(snapshot.jobs), list(snapshot.links)
    for items in (sites, jobs, links):
        order.shuffle(items)
    shuffled = msgspec.structs.replace(snapshot, sites=tuple(sites), jobs=tuple(jobs), links=tuple(links))
    found = {item.job_id: item for item in plan(shuffled).decisions}
    assert found == {item.job_id: item for item in plan(snapshot).decisions}


@given(snapshot=fleets())
@settings(max_examples=60, deadline=None)
def test_new_names_for_the_sites_change_nothing(snapshot: Snapshot) -> None:
    """Names decide ties only, so they are given anew in the same alphabetical order."""
    new = {name: f"site-{name}" for name in NAMES}

    def rename(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(new[name] for name in names)

    replace = msgspec.structs.replace
    renamed = replace(
        snapshot,
        sites=tuple(replace(view, name=new[view.name]) for view in snapshot.sites),
        links=tuple(
            replace(link, source=new[link.source], destination=new[link.destination]) for link in snapshot.links
        ),
        jobs=tuple(
            replace(
                one,
                site=new[one.site],
                sites_allowed=rename(one.sites_allowed),
                sites_forbidden=rename(one.sites_forbidden),
                sites_preferred=rename(one.sites_preferred),
            )
            for one in snapshot.jobs
        ),
    )
    before, after = plan(snapshot).decisions, plan(renamed).decisions
    for old, fresh in zip(before, after, strict=True):
        assert (fresh.action, fresh.binding, fresh.destination_node) == (old.action, old.binding, old.destination_node)
        assert fresh.destination_site == (new[old.destination_site] if old.destination_site else "")


def test_reversed_names_keep_the_choice_of_one_job() -> None:
    """Without ties the alphabet has no say."""
    for first, second in (("a", "z"), ("z", "a")):
        (found,) = decide(job(), sites=(DARK, site(first, (0.3,) * 30, 900.0), site(second, (0.2,) * 30, 900.0)))
        assert found.destination_site == second


def test_damaged_records_are_refused() -> None:
    with pytest.raises(Corrupt, match=r"stored snapshot.*jobs"):
        snapshots_of.decode(b'{"utc": "2026-03-01T00:00:00Z", "jobs": [{"job_id": 3}]}')
    with pytest.raises(Corrupt, match="stored plan"):
        records.decode(b"{")
