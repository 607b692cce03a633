"""A snapshot as arrays: jobs in the snapshot's order, sites sorted by name, so that ties fall the same way always."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from heliotrope.foundation.errors import InvalidInput

from .bases import Base, bases
from .capacity import Need, room
from .links import LinkColumns, link_columns
from .snapshot import JobView, Settings, SiteView, Snapshot

Floats: TypeAlias = NDArray[np.float64]
Indexes: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

DECIDABLE = "RUNNING"


@dataclass(frozen=True)
class JobColumns:
    """(J,) each. ``site`` is an index into the sites or -1; unknown ``remaining_s`` and ``since_move_s`` are inf."""

    site: Indexes
    state_bytes: Floats
    wire_bytes: Floats
    wire_overrides: tuple[tuple[int, int, float], ...]  # (job, site, bytes), few
    bases: dict[int, dict[int, Base]]  # job -> site -> what lies there already, few
    move_wire_bytes: Floats  # 0: no pre-copy
    save_s: Floats
    load_s: Floats
    downtime_s: Floats
    alpha: Floats
    power_w: Floats
    standing_power_w: Floats
    remaining_s: Floats
    since_move_s: Floats
    moves_count: Floats
    movable: Bools
    has_checkpoint: Bools
    must_leave: Bools
    refused: frozenset[tuple[int, int]]  # (job, site) where it failed at every node a moment ago, few
    decidable: Bools
    policy: Indexes  # row of ``Columns.forbidden``
    need: Indexes  # row of ``Columns.has_model`` and ``has_room``


@dataclass(frozen=True)
class SiteColumns:
    """(S,) each; ``profile_s`` (S, K + 1) is the integral of the non-renewable share up to each step of its profile."""

    window_s: Floats
    window_p05_s: Floats  # NaN: no history
    window_longest_s: Floats
    nonrenewable_now: Floats  # NaN: unknown
    known_s: Floats  # how far the profile reaches; 0: unknown
    step_s: Floats
    profile_s: Floats
    pue: Floats


@dataclass(frozen=True)
class Columns:
    """The whole snapshot. ``forbidden`` (policies, S), ``has_model`` and ``has_room`` (needs, S)."""

    jobs: JobColumns
    sites: SiteColumns
    links: LinkColumns
    forbidden: Bools
    has_model: Bools
    has_room: Bools
    needs: tuple[Need, ...]
    site_names: tuple[str, ...]
    settings: Settings

    @property
    def shape(self) -> tuple[int, int]:
        """(jobs, sites)."""
        return self.jobs.site.size, len(self.site_names)


def build(snapshot: Snapshot) -> Columns:
    """Arrays of a snapshot. Raises InvalidInput naming job, site or link and field: a number that is not finite or
    negative, a name that occurs twice or that nothing bears."""
    sites = sorted(snapshot.sites, key=lambda site: site.name)
    names = tuple(site.name for site in sites)
    index = {name: position for position, name in enumerate(names)}
    _unique("site", names)
    _unique("job", [job.job_id for job in snapshot.jobs])
    jobs, policies, needs = _job_columns(snapshot.jobs, index, sites)
    has_model, has_room = room(sites, needs)
    return Columns(
        jobs=jobs,
        sites=_site_columns(sites),
        links=link_columns(snapshot.links, index, snapshot.settings.local_bandwidth_bytes_per_s),
        forbidden=np.array([_excluded(policy, names) for policy in policies], dtype=np.bool_).reshape(
            len(policies), len(names)
        ),
        has_model=has_model,
        has_room=has_room,
        needs=needs,
        site_names=names,
        settings=snapshot.settings,
    )


def without_base(columns: Columns, row: int, site: int) -> Columns:
    """The same, with the node that holds something of the job at that site out of the question."""
    kept = {place: base for place, base in columns.jobs.bases.get(row, {}).items() if place != site}
    return replace(columns, jobs=replace(columns.jobs, bases={**columns.jobs.bases, row: kept}))


def numbers(what: str, items: Sequence[Any], label: Callable[[Any], str], field: str, unknown: float = 0.0) -> Floats:
    """One field of all items as (n,), None as ``unknown``. Raises InvalidInput naming item and field."""
    values = np.array([unknown if (value := getattr(item, field)) is None else value for item in items], dtype=float)
    wrong = np.array([getattr(item, field) is not None for item in items], dtype=bool) & ~(
        np.isfinite(values) & (values >= 0)
    )
    if np.any(wrong):
        item = items[int(np.flatnonzero(wrong)[0])]
        raise InvalidInput(
            f"cannot decide: {what} {label(item)}: field {field} is {getattr(item, field)}; "
            "it needs a finite number >= 0"
        )
    return values


def _unique(what: str, names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"cannot decide: {what} {twice} occurs twice in the snapshot; give each one its own name")


def _refused(jobs: Sequence[JobView], sites: Sequence[SiteView]) -> Iterator[tuple[int, int]]:
    for row, job in enumerate(jobs):
        if not job.nodes_refused:
            continue
        for column, site in enumerate(sites):
            able = {node.node for node in site.nodes if node.schedulable}
            if able and able <= set(job.nodes_refused):
                yield row, column


def _job_columns(
    jobs: Sequence[JobView], index: dict[str, int], sites: Sequence[SiteView]
) -> tuple[JobColumns, tuple[tuple[tuple[str, ...], tuple[str, ...]], ...], tuple[Need, ...]]:
    policies: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}
    needs: dict[Need, int] = {}

    def column(field: str, unknown: float = 0.0) -> Floats:
        return numbers("job", jobs, lambda job: job.name, field, unknown)

    for job in jobs:
        if job.site and job.site not in index:
            raise InvalidInput(f"cannot decide: job {job.name} is at site {job.site}, which is not in the snapshot")
        if not 0 < job.alpha <= 1:
            raise InvalidInput(f"cannot decide: job {job.name}: field alpha is {job.alpha}; it needs 0 < alpha <= 1")
        policies.setdefault((job.sites_allowed, job.sites_forbidden), len(policies))
        needs.setdefault(Need(job.gpu_count, job.gpu_model), len(needs))
    state_bytes = column("state_bytes")
    wire_bytes = column("wire_bytes", np.nan)
    columns = JobColumns(
        site=np.array([index.get(job.site, -1) for job in jobs], dtype=np.int64),
        state_bytes=state_bytes,
        wire_bytes=np.where(np.isnan(wire_bytes), state_bytes, wire_bytes),
        wire_overrides=tuple(
            (row, index[site], float(size))
            for row, job in enumerate(jobs)
            for site, size in job.wire_bytes_by_site.items()
            if site in index
        ),
        bases=bases(jobs, sites, index),
        move_wire_bytes=column("move_wire_bytes"),
        save_s=column("save_s"),
        load_s=column("load_s"),
        downtime_s=column("downtime_s"),
        alpha=column("alpha"),
        power_w=column("power_w"),
        standing_power_w=column("standing_power_w"),
        remaining_s=column("remaining_s", np.inf),
        since_move_s=column("since_move_s", np.inf),
        moves_count=column("moves_count"),
        movable=np.array([job.movable for job in jobs], dtype=np.bool_),
        has_checkpoint=np.array([job.has_checkpoint for job in jobs], dtype=np.bool_),
        must_leave=np.array([job.must_leave for job in jobs], dtype=np.bool_),
        refused=frozenset(_refused(jobs, sites)),
        decidable=np.array([job.state == DECIDABLE and bool(job.site) for job in jobs], dtype=np.bool_),
        policy=np.array([policies[job.sites_allowed, job.sites_forbidden] for job in jobs], dtype=np.int64),
        need=np.array([needs[Need(job.gpu_count, job.gpu_model)] for job in jobs], dtype=np.int64),
    )
    return columns, tuple(policies), tuple(needs)


def _excluded(policy: tuple[tuple[str, ...], tuple[str, ...]], names: tuple[str, ...]) -> list[bool]:
    allowed, forbidden = set(policy[0]), set(policy[1])
    return [(bool(allowed) and name not in allowed) or name in forbidden for name in names]


def _site_columns(sites: Sequence[SiteView]) -> SiteColumns:
    def column(field: str, unknown: float = 0.0) -> Floats:
        return numbers("site", sites, lambda site: site.name, field, unknown)

    step_s = column("profile_step_s")
    length = max((len(site.nonrenewable_profile) for site in sites), default=0)
    profile_s = np.zeros((len(sites), length + 1))
    known_s = np.zeros(len(sites))
    now = column("nonrenewable_ratio", np.nan)
    for row, site in enumerate(sites):
        shares = np.array(site.nonrenewable_profile, dtype=np.float64)
        if not np.all((shares >= 0) & (shares <= 1)):
            raise InvalidInput(f"cannot decide: site {site.name}: field nonrenewable_profile leaves 0 .. 1")
        profile_s[row, 1 : shares.size + 1] = np.cumsum(shares) * step_s[row]
        profile_s[row, shares.size + 1 :] = profile_s[row, shares.size]
        known_s[row] = shares.size * step_s[row]
        if np.isnan(now[row]) and shares.size:
            now[row] = shares[0]
    return SiteColumns(
        window_s=column("window_remaining_s"),
        window_p05_s=column("window_p05_s", np.nan),
        window_longest_s=column("window_longest_s", np.nan),
        nonrenewable_now=now,
        known_s=known_s,
        step_s=step_s,
        profile_s=profile_s,
        pue=column("pue"),
    )
