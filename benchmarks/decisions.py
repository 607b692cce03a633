"""How long the pure decisions take: feasibility of all pairs, and a whole plan.

``python -m benchmarks.decisions [--json] [--runs N] [--seed N]``. The fleets are drawn at random (a seed repeats them):
sites with a day of forecast in steps of ten minutes, nodes with a few free slots, jobs of 1 to 100 GB, links of 0.1 to
10 Gbit/s. ``per_pair_s`` is the time for one job at one site.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from heliotrope.coordinator.decisions import columns, feasibility, planner, snapshot
from heliotrope.coordinator.decisions.binding import Binding
from heliotrope.coordinator.decisions.snapshot import JobView, LinkView, NodeView, Settings, SiteView, Snapshot

from . import measure
from .measure import Row

NOW = datetime(2026, 6, 21, 12, tzinfo=UTC)
STEP_S = 600.0
STEPS_COUNT = 144
FEASIBILITY_SIZES = ((1_000, 100), (10_000, 1_000))
PLAN_SIZES = ((100, 20), (1_000, 100))


def main() -> None:
    parser = measure.options(__doc__)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rows = [feasible_row(jobs, sites, arguments.runs, arguments.seed) for jobs, sites in FEASIBILITY_SIZES]
    rows += [plan_row(jobs, sites, arguments.runs, arguments.seed) for jobs, sites in PLAN_SIZES]
    measure.show(rows, arguments.json)


def feasible_row(jobs_count: int, sites_count: int, runs: int, seed: int) -> Row:
    """Every term and the binding constraint of every pair, from the snapshot's arrays."""
    built = columns.build(fleet(jobs_count, sites_count, seed))
    feasible_count = 0

    def work() -> None:
        nonlocal feasible_count
        feasible_count = sum(int((terms.binding == Binding.OK).sum()) for _, terms in feasibility.blocks(built))

    samples = measure.in_turns({"work": work}, runs)["work"]
    return _row("feasibility", jobs_count, sites_count, samples, feasible_pairs_count=feasible_count)


def plan_row(jobs_count: int, sites_count: int, runs: int, seed: int) -> Row:
    """Snapshot in, decisions with their words out; then the snapshot as it is stored."""
    seen = fleet(jobs_count, sites_count, seed)
    made = planner.plan(seen)
    samples = measure.in_turns({"work": lambda: planner.plan(seen)}, runs)["work"]
    moves_count = sum(decision.action == "move" for decision in made.decisions)
    stored_bytes = len(snapshot.encode(seen))
    return _row("plan", jobs_count, sites_count, samples, moves_count=moves_count, snapshot_bytes=stored_bytes)


def _row(what: str, jobs_count: int, sites_count: int, samples: list[float], **more: int) -> Row:
    duration = measure.figures("duration_s", samples)
    per_pair_s = float(f"{duration['duration_s'] / (jobs_count * sites_count):.4g}")
    sizes = {"jobs_count": jobs_count, "sites_count": sites_count}
    return {"what": what, **sizes, **duration, "per_pair_s": per_pair_s, "runs": len(samples), **more}


def fleet(jobs_count: int, sites_count: int, seed: int) -> Snapshot:
    """A snapshot of that size; the same seed gives the same one."""
    random = np.random.default_rng(seed)
    sites = tuple(_site(random, number, jobs_count // sites_count) for number in range(sites_count))
    jobs = tuple(_job(random, number, sites_count) for number in range(jobs_count))
    rates = random.uniform(7.1, 9.1, sites_count)
    links = tuple(
        LinkView(source=site.name, destination="*", bandwidth_bytes_per_s=float(10**rate), e_net_j_per_byte=2e-8)
        for site, rate in zip(sites, rates, strict=True)
    )
    return Snapshot(utc=NOW, jobs=jobs, sites=sites, links=links, settings=Settings())


def _site(random: np.random.Generator, number: int, jobs_each: int) -> SiteView:
    phase = random.uniform(0, 2 * np.pi)
    shares = np.clip(0.5 + 0.5 * np.sin(np.arange(STEPS_COUNT) / STEPS_COUNT * 2 * np.pi + phase), 0, 1)
    closed = np.flatnonzero(shares > 0.5)
    window_s = float(closed[0] * STEP_S) if closed.size else STEPS_COUNT * STEP_S
    slots_count = max(1, round(jobs_each * 0.3))
    return SiteView(
        name=f"site{number:04}",
        nodes=tuple(NodeView(node=f"site{number:04}-{node}", slots_free=slots_count) for node in range(2)),
        intensity_g_per_kwh=float(shares[0] * 600),
        nonrenewable_ratio=float(shares[0]),
        nonrenewable_profile=tuple(shares.tolist()),
        profile_step_s=STEP_S,
        window_remaining_s=window_s,
        window_p05_s=1800.0,
        window_longest_s=40_000.0,
        pue=float(random.uniform(1.05, 1.5)),
    )


def _job(random: np.random.Generator, number: int, sites_count: int) -> JobView:
    home = f"site{random.integers(sites_count):04}"
    return JobView(
        job_id=f"job{number:05}",
        name=f"job{number:05}",
        site=home,
        node=f"{home}-0",
        state_bytes=float(10 ** random.uniform(9, 11)),
        save_s=5.0,
        load_s=20.0,
        downtime_s=5.0,
        power_w=float(random.uniform(200, 5000)),
        remaining_s=float(random.uniform(600, 400_000)),
        priority=int(random.integers(3)),
    )


if __name__ == "__main__":
    main()
