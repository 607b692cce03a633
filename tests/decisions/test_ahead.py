"""Looking ahead: a snapshot moved up in time, where jobs will likely go, and what a base there is worth."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliotrope.coordinator.decisions import ahead, wire_model
from heliotrope.coordinator.decisions.ahead import NextSite, look_by_look, rate_now, saved_ratio
from heliotrope.coordinator.decisions.later import later
from heliotrope.coordinator.decisions.planner import moves, plan
from heliotrope.coordinator.decisions.snapshot import (
    HeldView,
    JobView,
    LinkView,
    NodeView,
    Settings,
    SiteView,
    Snapshot,
    WindowView,
)
from heliotrope.coordinator.decisions.wire_model import WireModel


def likeliest(snapshot: Snapshot, within_s: float) -> dict[str, NextSite]:
    """All looks without a pause."""
    looking = look_by_look(snapshot, within_s)
    while True:
        try:
            next(looking)
        except StopIteration as end:
            found: dict[str, NextSite] = end.value
            return found


NOW = datetime(2026, 3, 1, tzinfo=UTC)
LINKS = (LinkView(source="*", destination="*", bandwidth_bytes_per_s=1e8),)
STEP_S = 60.0
STEPS = 120


def site(name: str, *windows: tuple[float, float], nodes: int = 1) -> SiteView:
    """Green in its windows, which begin and end at whole minutes."""
    shares = tuple(0.1 if any(a <= k * STEP_S < b for a, b in windows) else 0.9 for k in range(STEPS))
    is_open = bool(windows) and windows[0][0] == 0
    return SiteView(
        name=name,
        nodes=tuple(NodeView(node=f"{name}-{number}") for number in range(1, nodes + 1)),
        nonrenewable_profile=shares,
        profile_step_s=STEP_S,
        nonrenewable_ratio=shares[0],
        window_remaining_s=windows[0][1] if is_open else 0.0,
        windows=tuple(WindowView(start_s=a, end_s=b) for a, b in windows),
        next_window_s=next((a for a, _ in windows if a > 0), None),
    )


def job(name: str = "train", **more: Any) -> JobView:
    values: dict[str, Any] = {"site": "home", "node": "home-1", "state_bytes": 1e8, "power_w": 200.0}
    return JobView(job_id=f"id-{name}", name=name, **(values | more))


def fleet(*sites: SiteView, jobs: tuple[JobView, ...] = (job(),)) -> Snapshot:
    return Snapshot(utc=NOW, jobs=jobs, sites=sites, links=LINKS, settings=Settings(dwell_s=0.0))


SUNSET = site("home", (0.0, 1200.0))
SUNRISE = site("east", (1200.0, 6000.0))


def test_a_job_leaves_at_the_end_of_its_window_for_the_one_that_opens() -> None:
    (found,) = likeliest(fleet(SUNSET, SUNRISE), 1800.0).values()
    assert (found.site, found.node, found.leave_s, found.share_ratio) == ("east", "east-1", 1200.0, 1.0)
    assert likeliest(fleet(SUNSET, SUNRISE), 1100.0) == {}, "not within that time"


def test_a_site_that_would_be_chosen_for_a_moment_only_is_not_the_likeliest() -> None:
    brief = site("brief", (1200.0, 1380.0))  # for two minutes long enough to be worth it
    soon_after = site("later", (1260.0, 7000.0))
    (found,) = likeliest(fleet(SUNSET, brief, soon_after), 3600.0).values()
    assert found.site == "later" and found.leave_s == 1200.0
    assert 0.9 < found.share_ratio < 1.0


def test_what_the_policy_forbids_or_is_full_is_not_where_it_goes() -> None:
    south = site("south", (1260.0, 5000.0))
    for change in ({"sites_forbidden": ("east",)}, {"sites_allowed": ("home", "south")}):
        (found,) = likeliest(fleet(SUNSET, SUNRISE, south, jobs=(job(**change),)), 3600.0).values()
        assert found.site == "south"
    assert likeliest(fleet(SUNSET, SUNRISE, jobs=(job(movable=False),)), 3600.0) == {}
    # One node for two jobs: the plan gives it to the one of higher priority.
    two = (job("first", priority=1), job("second"))
    found_two = likeliest(fleet(SUNSET, SUNRISE, south, jobs=two), 3600.0)
    assert {found_two["id-first"].site, found_two["id-second"].site} == {"east", "south"}


def test_a_job_that_moves_now_or_leaves_a_drained_node_is_left_alone() -> None:
    open_now = site("east", (0.0, 6000.0))
    dark = site("home")
    assert likeliest(fleet(dark, open_now), 1800.0) == {}
    assert likeliest(fleet(SUNSET, SUNRISE, jobs=(job(must_leave=True),)), 1800.0) == {}
    held_back = msgspec.structs.replace(
        fleet(dark, open_now, jobs=(job(since_move_s=100.0),)), settings=Settings(dwell_s=900.0)
    )
    (found,) = likeliest(held_back, 1800.0).values()
    assert found.leave_s >= 800.0, "when it has dwelt long enough"


def test_a_base_there_already_does_not_make_it_likelier() -> None:
    """Else what was sent would be the reason to send it."""
    heavy = job(wire_bytes=8e10, move_wire_bytes=1.6e11)
    base = HeldView(node="east-1", site="east", age_s=1.0, wire_bytes=1.0, move_wire_bytes=1.0)
    with_base = msgspec.structs.replace(heavy, held=(base,))
    assert likeliest(fleet(SUNSET, SUNRISE, jobs=(with_base,)), 1800.0) == {}


minutes = st.integers(0, 60)
spans = st.lists(st.tuples(minutes, st.integers(1, 30)), max_size=3)


def site_of(name: str, drawn: list[tuple[int, int]]) -> SiteView:
    windows: list[tuple[float, float]] = []
    at = 0
    for gap, length in drawn:
        start = at + gap + (1 if windows else 0)
        windows.append((start * STEP_S, (start + length) * STEP_S))
        at = start + length
    return site(name, *windows)


fleets = st.builds(
    lambda home, east, south, wire, dwelt: fleet(
        site_of("home", home),
        site_of("east", east),
        site_of("south", south),
        jobs=(job(wire_bytes=wire, sites_forbidden=("south",), since_move_s=dwelt),),
    ),
    spans,
    spans,
    spans,
    st.floats(0, 2e10),
    st.one_of(st.none(), st.floats(0, 5000)),
)


@settings(max_examples=60, deadline=None)
@given(fleets, st.floats(60.0, 5000.0))
def test_whoever_is_said_to_leave_is_moved_by_the_plan_of_that_moment(snapshot: Snapshot, within_s: float) -> None:
    found = likeliest(snapshot, within_s)
    assert found == likeliest(snapshot, within_s), "pure"
    for decision in plan(snapshot).decisions:
        there = (decision.destination_site, decision.destination_node) if decision.action == "move" else None
        assert moves(snapshot).get(decision.job_id) == there, "the plan without its records"
    for one in found.values():
        assert 0 < one.leave_s <= within_s
        assert 0 < one.share_ratio <= 1 + 1e-9
        assert one.site == "east", "home is where it is, and south is forbidden"
        (then,) = plan(later(snapshot, one.leave_s)).decisions
        assert then.action == "move"
    if not found:
        # Nothing was overlooked at the edges, where anything changes: there the plan moves nobody either, unless now.
        edges = {edge for site in snapshot.sites for one in site.windows for edge in (one.start_s, one.end_s)}
        (now,) = plan(snapshot).decisions
        for edge in sorted(edges):
            if 0 < edge < within_s and now.action == "stay":
                (then,) = plan(later(snapshot, edge)).decisions
                assert then.action == "stay"


@settings(max_examples=60, deadline=None)
@given(fleets, st.integers(0, 3000), st.integers(0, 3000))
def test_moving_up_twice_is_moving_up_once(snapshot: Snapshot, first_s: int, second_s: int) -> None:
    once, twice = later(snapshot, first_s + second_s), later(later(snapshot, first_s), second_s)
    for one, other in zip(once.sites, twice.sites, strict=True):
        assert one.windows == other.windows
        assert (one.window_remaining_s, one.next_window_s) == (other.window_remaining_s, other.next_window_s)
        if first_s % STEP_S == 0:
            shared = min(len(one.nonrenewable_profile), len(other.nonrenewable_profile))
            assert one.nonrenewable_profile[:shared] == pytest.approx(other.nonrenewable_profile[:shared])
    assert once.jobs == twice.jobs
    assert later(snapshot, 0.0).sites == snapshot.sites


@settings(max_examples=60, deadline=None)
@given(fleets, st.floats(0, 6000))
def test_a_profile_moved_up_keeps_its_mean(snapshot: Snapshot, after_s: float) -> None:
    """What is still known is the same energy, cut at other moments."""
    for before, after in zip(snapshot.sites, later(snapshot, after_s).sites, strict=True):
        known_s = len(after.nonrenewable_profile) * STEP_S
        assert known_s <= len(before.nonrenewable_profile) * STEP_S
        whole = sum(
            share * max(min((k + 1) * STEP_S, after_s + known_s) - max(k * STEP_S, after_s), 0.0)
            for k, share in enumerate(before.nonrenewable_profile)
        )
        assert sum(after.nonrenewable_profile) * STEP_S == pytest.approx(whole, abs=1e-6)


@given(st.floats(0.01, 1.0), st.floats(1e-6, 1.0), st.floats(0, 1), st.floats(1, 1e5), st.floats(1, 1e5))
def test_an_older_base_saves_less_and_never_less_than_nothing(
    full: float, delta: float, exponent: float, a_s: float, b_s: float
) -> None:
    model = WireModel(full_ratio=full, delta_ratio=delta, exponent=exponent)
    young, old = sorted((a_s, b_s))
    assert 0 <= saved_ratio(model, old) <= saved_ratio(model, young) <= 1


def test_what_staging_ahead_is_worth_by_kind_of_training() -> None:
    assert saved_ratio(wire_model.fit([]), 600.0) < 0.05, "every value changes in each step"
    assert saved_ratio(wire_model.fit([], 0.99), 600.0) > 0.95, "a frozen base"


@given(st.floats(0, 1e4), st.floats(0, 1e12), st.floats(0, 1e9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_nothing_is_sent_in_the_dark_without_a_limit(
    window_s: float, wire_bytes: float, bandwidth: float, green: int, dark: int
) -> None:
    found = rate_now(window_s, wire_bytes, bandwidth, green_rate=green, dark_rate=dark)
    if window_s == 0:
        assert found == (dark or None)
    if found is not None and found != dark:
        reached = min(bandwidth, green or bandwidth)
        assert found == green and wire_bytes / reached <= window_s, "through before the window ends"


def test_many_windows_do_not_make_many_looks() -> None:
    busy = site("home", *((60.0 * k, 60.0 * k + 30.0) for k in range(1, 100)))
    looks = ahead._looks(fleet(busy), 7200.0)
    assert len(looks) <= ahead.LOOKS_LIMIT and looks == sorted(set(looks)) and looks[-1] == 7200.0
