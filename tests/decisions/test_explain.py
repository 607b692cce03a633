"""What a person reads: the inequality with every term, for a move and for a stay."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from heliotrope.coordinator.decisions.binding import LABELS, MEANINGS, Binding
from heliotrope.coordinator.decisions.explain import render
from heliotrope.coordinator.decisions.planner import plan
from heliotrope.coordinator.decisions.snapshot import JobView, LinkView, NodeView, SiteView, Snapshot


def site(name: str, share: float, window_s: float) -> SiteView:
    return SiteView(
        name=name,
        nodes=(NodeView(node=f"{name}-1"),),
        nonrenewable_profile=(share,) * 10,
        profile_step_s=20.0,
        window_remaining_s=window_s,
        window_p05_s=40.0,
        window_longest_s=120.0,
    )


def rendered(**more: Any) -> str:
    values: dict[str, Any] = {
        "job_id": "j1",
        "name": "train",
        "site": "kyoto",
        "node": "kyoto-1",
        "state_bytes": 3e8,
        "wire_bytes": 1.2e8,
        "save_s": 1.0,
        "load_s": 0.8,
        "downtime_s": 2.1,
        "power_w": 100.0,
    }
    snapshot = Snapshot(
        utc=datetime(2026, 3, 1, tzinfo=UTC),
        jobs=(JobView(**(values | more)),),
        sites=(site("kyoto", 0.8, 0.0), site("quito", 0.1, 93.0), site("turin", 0.3, 30.0)),
        links=(LinkView(source="*", destination="*", bandwidth_bytes_per_s=1e8, e_net_j_per_byte=1e-8),),
    )
    return render(plan(snapshot).decisions[0])


MOVE = """\
move train (j1): moves from kyoto to quito: saves 6045.9 J of non-renewable energy over 88.9 s for a standstill of 4.1 s

chosen: quito, node quito-1
  T_transfer = S_wire / B = 120.00 MB / 100.00 MB/s = 1.2 s (all of S = 300.00 MB: 3.0 s)
  T_transfer + T_load + T_downtime = 1.2 s + 0.8 s + 2.1 s = 4.1 s < alpha x T_energy = 0.10 x 93.0 s = 9.3 s: feasible
  class B: feasible for some of the windows seen there
  break-even, in joules of non-renewable energy:
    saving the checkpoint     80.0 J
    sending                   0.5 J
    loading                   8.0 J
    standing                  0.0 J
    cost of the move          88.5 J
    leaving again             88.5 J
    gain                      70.0 W x 88.9 s = 6223.0 J (non-renewable share 80.0 % here, 10.0 % there)
    net                       6045.9 J: worth it
    repaid after              2.5 s
  rules: never moved (dwell 600.0 s), 0 of 24 moves in a day, least gain 5.0 % of 100.0 W
  forecasts: window is a point forecast, bandwidth is a point forecast
  binding: ok: nothing stands against it

rejected:
  turin: time: the move takes too long for the window that is left (4.1 s >= 3.0 s)
"""


def test_a_move_word_for_word() -> None:
    assert rendered() == MOVE


def test_a_stay_shows_the_inequality_of_its_nearest_alternative() -> None:
    text = rendered(wire_bytes=9e8)
    assert text.startswith("stay train (j1): stays at kyoto: the nearest alternative, quito, fails on time: ")
    assert (
        "T_transfer + T_load + T_downtime = 9.0 s + 0.8 s + 2.1 s = 11.9 s >= "
        "alpha x T_energy = 0.10 x 93.0 s = 9.3 s: not feasible" in text
    )
    assert "binding: time: the move takes too long for the window that is left (11.9 s >= 9.3 s)" in text
    assert "  turin: time: the move takes too long for the window that is left (11.9 s >= 3.0 s)" in text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"since_move_s": 3.0}, "dwell: the job moved too recently (moved 3.0 s ago, dwell 600.0 s)"),
        ({"save_s": 90.0}, "break_even: the move would cost more non-renewable energy than it saves (net -8"),
        ({"moves_count": 24}, "moves_limit: the job has moved as often as it may in a day (24 of 24)"),
        ({"sites_forbidden": ("quito", "turin")}, "forbidden: the job's policy excludes the site"),
        ({"movable": False}, "unmovable: the job's policy says it does not move"),
        ({"gpu_count": 1}, "capacity: no node there is free"),
        ({"state": "MOVING"}, "nothing is decided while the job is MOVING"),
    ],
)
def test_each_reason_has_its_figures(change: dict[str, Any], expected: str) -> None:
    assert expected in rendered(**change)


def test_a_placement_says_what_it_compared() -> None:
    text = rendered(state="PENDING", site="", node="")
    assert text.startswith(
        "place train (j1): starts at quito: 10.0 % non-renewable over the next 200.0 s; its renewable"
    )
    assert "  turin: outranked: it would do, but another site is better (non-renewable share 30.0 %)" in text


def test_the_guides_example_is_what_is_printed() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "decisions.md").read_text(encoding="utf-8")
    shown = [
        line.strip() for line in guide.split("## An explanation")[1].splitlines() if "T_" in line or "binding" in line
    ]
    assert len(shown) == 3
    printed = rendered(wire_bytes=9e8)
    assert all(line in printed for line in shown)


def test_every_binding_has_a_name_and_a_meaning() -> None:
    assert set(MEANINGS) == set(Binding)
    assert tuple(binding.label for binding in sorted(Binding)) == LABELS
    assert list(Binding) == list(range(len(Binding)))
