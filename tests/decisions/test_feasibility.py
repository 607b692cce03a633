"""The inequality and break-even: by hand, against a plain scalar computation, and by property."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliotrope.coordinator.decisions.binding import Binding
from heliotrope.coordinator.decisions.columns import build
from heliotrope.coordinator.decisions.feasibility import CLASSES, TERM_NAMES, Terms, blocks, evaluate
from heliotrope.coordinator.decisions.snapshot import JobView, LinkView, NodeView, Settings, SiteView, Snapshot
from heliotrope.foundation.errors import InvalidInput

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def site(name: str, shares: tuple[float, ...], window_s: float, **more: Any) -> SiteView:
    return SiteView(
        name=name,
        nodes=(NodeView(node=f"{name}-1", slots_free=1, gpu_free=1, gpu_model="H200"),),
        nonrenewable_profile=shares,
        profile_step_s=20.0,
        window_remaining_s=window_s,
        **more,
    )


def job(**more: Any) -> JobView:
    values: dict[str, Any] = {
        "job_id": "j1",
        "name": "train",
        "site": "kyoto",
        "state_bytes": 3e8,
        "wire_bytes": 1.2e8,
        "save_s": 1.0,
        "load_s": 0.8,
        "downtime_s": 2.1,
        "power_w": 100.0,
    }
    return JobView(**(values | more))


def fleet(one: JobView, **quito: Any) -> Snapshot:
    values: dict[str, Any] = {"shares": (0.1,) * 10, "window_s": 93.0, "window_p05_s": 40.0, "window_longest_s": 120.0}
    return Snapshot(
        utc=NOW,
        jobs=(one,),
        sites=(site("kyoto", (0.8,) * 10, 0.0), site("quito", **(values | quito))),
        links=(LinkView(source="*", destination="*", bandwidth_bytes_per_s=1e8, e_net_j_per_byte=1e-8),),
    )


def terms_of(snapshot: Snapshot) -> dict[str, float]:
    """Terms of the first job at the last site by name."""
    columns = build(snapshot)
    found = evaluate(columns, slice(0, 1)).pairs(0, [columns.shape[1] - 1])
    return {name: values[0] for name, values in found.items()}


def binding_of(snapshot: Snapshot) -> Binding:
    return Binding(int(terms_of(snapshot)["binding"]))


def test_terms_by_hand() -> None:
    found = terms_of(fleet(job()))
    # Time: 120 MB at 100 MB/s, loading, downtime; 10 % of a window of 93 s.
    assert found["transfer_s"] == pytest.approx(1.2)
    assert found["paper_transfer_s"] == pytest.approx(3.0)
    assert found["disruption_s"] == pytest.approx(4.1)
    assert found["alpha_window_s"] == pytest.approx(9.3)
    assert found["margin_s"] == pytest.approx(5.2)
    assert found["feasible_time"]
    # Energy: 100 W x 1 s x 0.8; 120 MB x 10 nJ x mean share 0.45; 100 W x 0.8 s x 0.1; nothing drawn while standing.
    assert found["saving_cost_j"] == pytest.approx(80.0)
    assert found["sending_cost_j"] == pytest.approx(0.54)
    assert found["loading_cost_j"] == pytest.approx(8.0)
    assert found["standing_cost_j"] == 0.0
    assert found["cost_j"] == found["leaving_cost_j"] == pytest.approx(88.54)
    # 100 W x (0.8 - 0.1) over the 93 - 4.1 s in which it runs there.
    assert found["gain_w"] == pytest.approx(70.0)
    assert found["gain_span_s"] == pytest.approx(88.9)
    assert found["gain_j"] == pytest.approx(6223.0)
    assert found["net_j"] == pytest.approx(6223.0 - 2 * 88.54)
    assert found["break_even_s"] == pytest.approx(2 * 88.54 / 70.0)
    # 4.1 s is above 10 % of the shortest windows (4.0 s) and below that of the longest (12 s).
    assert CLASSES[int(found["pair_class"])] == "B"
    assert Binding(int(found["binding"])) is Binding.OK


def test_pue_standing_power_and_a_job_that_ends_in_the_window() -> None:
    snapshot = fleet(job(standing_power_w=10.0, remaining_s=30.0), pue=1.5)
    found = terms_of(snapshot)
    assert found["standing_cost_j"] == pytest.approx(4.1 * 10 * 0.8)
    assert found["loading_cost_j"] == pytest.approx(100 * 0.8 * 1.5 * 0.1)
    assert found["gain_w"] == pytest.approx(100 * (0.8 - 1.5 * 0.1))
    assert found["gain_span_s"] == 30.0
    assert found["leaving_cost_j"] == 0.0


def test_means_follow_the_profile() -> None:
    # 20 s at 0.0, then 0.5; over 93 s: (20 x 0 + 73 x 0.5) / 93.
    found = terms_of(fleet(job(), shares=(0.0,) + (0.5,) * 9))
    assert found["destination_nonrenewable_ratio"] == pytest.approx(73 * 0.5 / 93)
    assert found["source_nonrenewable_ratio"] == pytest.approx(0.8)


def test_the_inequality_is_strict() -> None:
    exactly = job(wire_bytes=0.0, load_s=0.0, downtime_s=8.0, alpha=0.25)
    assert binding_of(fleet(exactly, window_s=32.0)) is Binding.TIME
    assert binding_of(fleet(exactly, window_s=32.1)) is Binding.OK


def test_what_is_already_there_is_not_sent() -> None:
    snapshot = fleet(job(wire_bytes=1e10))
    assert binding_of(snapshot) is Binding.TIME
    assert binding_of(fleet(job(wire_bytes=1e10, wire_bytes_by_site={"quito": 1e7}))) is Binding.OK
    assert terms_of(fleet(job(wire_bytes=None)))["wire_bytes"] == 3e8


def without_links(snapshot: Snapshot) -> Snapshot:
    return msgspec.structs.replace(snapshot, links=())


NODE = NodeView(node="q", slots_free=1, gpu_free=1, gpu_model="H200")

BINDINGS: dict[Binding, Snapshot] = {
    Binding.BUSY: fleet(job(state="MOVING")),
    Binding.UNMOVABLE: fleet(job(movable=False)),
    Binding.NO_CHECKPOINT: fleet(job(has_checkpoint=False)),
    Binding.FORBIDDEN: fleet(job(sites_forbidden=("quito",))),
    Binding.UNREACHABLE: without_links(fleet(job())),
    Binding.GPU_MODEL: fleet(job(gpu_count=1, gpu_model="A100")),
    Binding.CAPACITY: fleet(job(gpu_count=2, gpu_model="H200")),
    Binding.UNKNOWN: fleet(job(), shares=()),
    Binding.NO_WINDOW: fleet(job(), window_s=0.0),
    Binding.TIME: fleet(job(), window_s=40.9),
    Binding.BREAK_EVEN: fleet(job(save_s=100.0)),
    Binding.HYSTERESIS: fleet(job(), shares=(0.76,) * 10),
    Binding.MOVES_LIMIT: fleet(job(moves_count=24)),
    Binding.DWELL: fleet(job(since_move_s=599.0)),
    Binding.OK: fleet(job(since_move_s=600.0, moves_count=23, sites_allowed=("quito",), gpu_count=1)),
}


@pytest.mark.parametrize("binding", sorted(BINDINGS))
def test_each_binding_constraint(binding: Binding) -> None:
    assert binding_of(BINDINGS[binding]) is binding


def test_a_drained_node_is_left_against_the_soft_constraints_only() -> None:
    assert binding_of(fleet(job(must_leave=True, since_move_s=1.0), window_s=0.0, shares=())) is Binding.OK
    assert binding_of(fleet(job(must_leave=True, sites_forbidden=("quito",)))) is Binding.FORBIDDEN


def test_allowed_sites_exclude_the_others() -> None:
    assert binding_of(fleet(job(sites_allowed=("kyoto",)))) is Binding.FORBIDDEN


@pytest.mark.parametrize(
    ("snapshot", "message"),
    [
        (fleet(job(power_w=math.nan)), "job train: field power_w is nan"),
        (fleet(job(state_bytes=-1.0)), "job train: field state_bytes is -1.0"),
        (fleet(job(site="atlantis")), "job train is at site atlantis"),
        (fleet(job(alpha=0.0)), "job train: field alpha"),
        (fleet(job(), window_s=math.inf), "site quito: field window_remaining_s"),
        (fleet(job(), shares=(1.5,)), "site quito: field nonrenewable_profile"),
        (msgspec.structs.replace(fleet(job()), jobs=(job(), job())), "job j1 occurs twice"),
        (
            msgspec.structs.replace(
                fleet(job()), links=(LinkView(source="a", destination="b", bandwidth_bytes_per_s=-1.0),)
            ),
            "link a -> b",
        ),
        (
            msgspec.structs.replace(
                fleet(job()), links=(LinkView(source="a", destination="b", bandwidth_bytes_per_s=1.0),) * 2
            ),
            "link a -> b occurs twice",
        ),
    ],
)
def test_a_contradictory_snapshot_is_refused_by_name(snapshot: Snapshot, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        build(snapshot)


def test_the_more_precise_link_holds() -> None:
    links = (
        LinkView(source="quito", destination="kyoto", bandwidth_bytes_per_s=4.0),
        LinkView(source="kyoto", destination="*", bandwidth_bytes_per_s=3.0),
        LinkView(source="*", destination="quito", bandwidth_bytes_per_s=2.0),
        LinkView(source="*", destination="*", bandwidth_bytes_per_s=1.0),
    )
    matrix = build(msgspec.structs.replace(fleet(job()), links=links)).links.bandwidth_bytes_per_s
    np.testing.assert_array_equal(matrix, [[1.25e8, 3.0], [4.0, 1.25e8]])


# --- against a plain computation, and by property -----------------------------------------------------------------

amounts = st.floats(0.0, 1e9)
spans = st.floats(0.0, 200.0)
shares = st.lists(st.floats(0.0, 1.0), max_size=5).map(tuple)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    names = ["a", "b", "c", "d"][: draw(st.integers(2, 4))]
    sites = tuple(
        site(
            name,
            draw(shares),
            draw(spans),
            pue=draw(st.floats(1.0, 2.0)),
            window_p05_s=draw(st.one_of(st.none(), spans)),
            window_longest_s=draw(st.one_of(st.none(), spans)),
        )
        for name in names
    )
    jobs = tuple(
        job(
            job_id=f"j{k}",
            site=draw(st.sampled_from(names)),
            state_bytes=draw(amounts),
            wire_bytes=draw(st.one_of(st.none(), amounts)),
            move_wire_bytes=draw(st.one_of(st.none(), amounts)),
            save_s=draw(st.floats(0.0, 5.0)),
            load_s=draw(st.floats(0.0, 5.0)),
            downtime_s=draw(st.floats(0.0, 5.0)),
            alpha=draw(st.floats(0.01, 1.0)),
            power_w=draw(st.floats(0.0, 1000.0)),
            standing_power_w=draw(st.floats(0.0, 100.0)),
            remaining_s=draw(st.one_of(st.none(), spans)),
            since_move_s=draw(st.one_of(st.none(), st.floats(0.0, 1000.0))),
        )
        for k in range(draw(st.integers(1, 4)))
    )
    links = tuple(
        LinkView(
            source=source,
            destination=destination,
            bandwidth_bytes_per_s=draw(st.one_of(st.just(0.0), st.floats(1e6, 1e10))),
            latency_s=draw(st.floats(0.0, 0.5)),
            e_net_j_per_byte=draw(st.floats(0.0, 1e-6)),
        )
        for source in names
        for destination in names
        if source != destination
    )
    rules = Settings(dwell_s=100.0, min_gain_ratio=0.05, horizon_s=draw(st.floats(1.0, 300.0)))
    return Snapshot(utc=NOW, jobs=jobs, sites=sites, links=links, settings=rules)


def integral(view: SiteView, span_s: float) -> float:
    """Integral of a site's share over [0, span], step by step."""
    total, at = 0.0, 0.0
    for share in view.nonrenewable_profile:
        width = min(view.profile_step_s, max(span_s - at, 0.0))
        total += share * width
        at += view.profile_step_s
    return total


def plain(snapshot: Snapshot, one: JobView, there: SiteView) -> tuple[float, float]:
    """(disruption [s], net gain [non-renewable J]) of one pair, in plain words."""
    link = next(item for item in snapshot.links if (item.source, item.destination) == (one.site, there.name))
    here = next(item for item in snapshot.sites if item.name == one.site)
    wire = one.state_bytes if one.wire_bytes is None else one.wire_bytes
    disruption_s = wire / link.bandwidth_bytes_per_s + link.latency_s + one.load_s + one.downtime_s
    g_here, g_there = here.nonrenewable_profile[0], there.nonrenewable_profile[0]
    cost_j = one.power_w * one.save_s * here.pue * g_here
    move_wire = max(wire, one.move_wire_bytes or 0.0)
    cost_j += move_wire * link.e_net_j_per_byte * (g_here + g_there) / 2
    cost_j += one.power_w * one.load_s * there.pue * g_there
    cost_j += one.standing_power_w * disruption_s * here.pue * g_here
    remaining_s = math.inf if one.remaining_s is None else one.remaining_s
    known_s = 20.0 * min(len(here.nonrenewable_profile), len(there.nonrenewable_profile))
    reach_s = min(there.window_remaining_s, remaining_s, snapshot.settings.horizon_s, known_s)
    if reach_s <= 0:
        return disruption_s, -cost_j * (2 if remaining_s > 0 else 1)
    rate_w = one.power_w * (here.pue * integral(here, reach_s) - there.pue * integral(there, reach_s)) / reach_s
    staging_s = (move_wire - wire) / link.bandwidth_bytes_per_s
    span_s = max(0.0, min(reach_s, there.window_remaining_s - staging_s - disruption_s))
    return disruption_s, rate_w * span_s - cost_j * (2 if remaining_s > span_s else 1)


@given(snapshot=snapshots())
@settings(max_examples=60, deadline=None)
def test_arrays_agree_with_the_plain_computation(snapshot: Snapshot) -> None:
    columns = build(snapshot)
    terms = evaluate(columns, slice(0, len(snapshot.jobs)))
    for row, one in enumerate(snapshot.jobs):
        for column, there in enumerate(sorted(snapshot.sites, key=lambda view: view.name)):
            here = next(item for item in snapshot.sites if item.name == one.site)
            found = {name: values[0] for name, values in terms.pairs(row, [column]).items()}
            met = found["bandwidth_bytes_per_s"] > 0
            if there.name == one.site or not met or not (here.nonrenewable_profile and there.nonrenewable_profile):
                assert Binding(int(found["binding"])) is not Binding.OK
                continue
            disruption_s, net_j = plain(snapshot, one, there)
            assert found["disruption_s"] == pytest.approx(disruption_s)
            assert found["net_j"] == pytest.approx(net_j, rel=1e-6, abs=1e-3)


def better_links(snapshot: Snapshot, factor: float) -> Snapshot:
    links = tuple(
        msgspec.structs.replace(link, bandwidth_bytes_per_s=link.bandwidth_bytes_per_s * factor)
        for link in snapshot.links
    )
    return msgspec.structs.replace(snapshot, links=links)


def all_terms(snapshot: Snapshot) -> Terms:
    return evaluate(build(snapshot), slice(0, len(snapshot.jobs)))


@given(snapshot=snapshots(), factor=st.floats(1.0, 1000.0))
@settings(max_examples=60, deadline=None)
def test_more_bandwidth_never_makes_a_pair_infeasible(snapshot: Snapshot, factor: float) -> None:
    slow, fast = all_terms(snapshot), all_terms(better_links(snapshot, factor))
    assert not np.any(slow.feasible_time & ~fast.feasible_time)
    assert not np.any((slow.binding == Binding.OK) & (fast.binding != Binding.OK))
    assert np.all(fast.pair_class <= slow.pair_class)


def longer_windows(snapshot: Snapshot, more_s: float) -> Snapshot:
    sites = tuple(
        msgspec.structs.replace(view, window_remaining_s=view.window_remaining_s + more_s) for view in snapshot.sites
    )
    return msgspec.structs.replace(snapshot, sites=sites)


def flat(snapshot: Snapshot) -> Snapshot:
    """The same fleet with shares that do not change over time."""
    sites = tuple(
        msgspec.structs.replace(view, nonrenewable_profile=view.nonrenewable_profile[:1] * 50)
        for view in snapshot.sites
    )
    return msgspec.structs.replace(snapshot, sites=sites)


@given(snapshot=snapshots(), more_s=st.floats(0.0, 500.0))
@settings(max_examples=60, deadline=None)
def test_a_longer_window_never_makes_a_pair_infeasible(snapshot: Snapshot, more_s: float) -> None:
    short, long = all_terms(snapshot), all_terms(longer_windows(snapshot, more_s))
    assert not np.any(short.feasible_time & ~long.feasible_time)
    short, long = all_terms(flat(snapshot)), all_terms(longer_windows(flat(snapshot), more_s))
    assert not np.any((short.binding == Binding.OK) & (long.binding != Binding.OK))


@given(snapshot=snapshots(), more=st.floats(0.0, 10.0))
@settings(max_examples=60, deadline=None)
def test_break_even_is_later_when_moving_costs_more(snapshot: Snapshot, more: float) -> None:
    dearer_links = tuple(
        msgspec.structs.replace(link, e_net_j_per_byte=link.e_net_j_per_byte * (1 + more)) for link in snapshot.links
    )
    slower_jobs = tuple(msgspec.structs.replace(one, save_s=one.save_s + more) for one in snapshot.jobs)
    base = all_terms(snapshot)
    for changed in (
        msgspec.structs.replace(snapshot, links=dearer_links),
        msgspec.structs.replace(snapshot, jobs=slower_jobs),
    ):
        dear = all_terms(changed)
        known = ~np.isnan(base.break_even_s) & ~np.isnan(dear.break_even_s)
        assert np.all(dear.break_even_s[known] >= base.break_even_s[known] * (1 - 1e-9))
        assert not np.any(dear.feasible_energy & ~base.feasible_energy)


@given(snapshot=snapshots(), pairs=st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_the_block_size_changes_nothing(snapshot: Snapshot, pairs: int) -> None:
    columns = build(snapshot)
    whole = evaluate(columns, slice(0, len(snapshot.jobs)))
    for rows, terms in blocks(columns, pairs):
        for local, row in enumerate(range(rows.start, rows.stop)):
            every = list(range(columns.shape[1]))
            part, reference = terms.pairs(local, every), whole.pairs(row, every)
            for name in TERM_NAMES:
                np.testing.assert_array_equal(part[name], reference[name])
