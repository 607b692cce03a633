"""From arrays to records: the candidates of one job, in the order in which they are worth naming."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .binding import LABELS, Binding
from .columns import Columns, Indexes
from .decision import Candidate, Here, PairTerms, Rules
from .feasibility import CLASSES, Terms
from .snapshot import JobView, Settings, SiteView

OPTIONS_LIMIT = 64  # feasible sites per job that the greedy may fall back on


def options(columns: Columns, terms: Terms, row: int, preferred: frozenset[str]) -> list[tuple[bool, float, int]]:
    """The sites a job of the block may move to as (not preferred, -net gain, site), best first."""
    feasible = np.flatnonzero(terms.binding[row] == Binding.OK)
    minus_net = -np.nan_to_num(terms.net_j[row][feasible], nan=-np.inf)
    other = np.ones(feasible.size, dtype=np.bool_)
    if preferred:
        other = np.array([columns.site_names[site] not in preferred for site in feasible.tolist()], dtype=np.bool_)
    order = np.lexsort((feasible, minus_net, other))[:OPTIONS_LIMIT]
    return list(zip(other[order].tolist(), minus_net[order].tolist(), feasible[order].tolist(), strict=True))


def ranked(terms: Terms, row: int) -> Indexes:
    """All other sites, nearest to a move first: by how far they came, then by net gain, then by name."""
    binding = terms.binding[row].astype(np.int64)
    nets = np.nan_to_num(terms.net_j[row], nan=-np.inf)
    order = np.lexsort((np.arange(binding.size), -nets, -binding))
    others: Indexes = order[binding[order] != Binding.HERE]
    return others


def candidates(
    columns: Columns, terms: Terms, row: int, sites: Sequence[int], preferred: frozenset[str], *, job: int
) -> dict[int, Candidate]:
    """The records of one job (its place in the block and in the snapshot) at the given sites, in their order."""
    values = terms.pairs(row, sites)
    bindings = values.pop("binding")
    classes = values.pop("pair_class")
    found: dict[int, Candidate] = {}
    bases = columns.jobs.bases.get(job, {})
    for place, site in enumerate(sites):
        name = columns.site_names[site]
        raw: dict[str, Any] = {
            key: value if math.isfinite(value := column[place]) else None for key, column in values.items()
        }
        found[site] = Candidate(
            site=name,
            binding=LABELS[int(bindings[place])],
            preferred=name in preferred,
            nonrenewable_ratio=raw["destination_nonrenewable_ratio"],
            window_s=raw["window_s"],
            span_s=raw["mean_span_s"],
            terms=PairTerms(pair_class=CLASSES[int(classes[place])], **raw),
            base_node=bases[site].node if site in bases else "",
            base_why=bases[site].why if site in bases else "",
        )
    return found


def rules(job: JobView, settings: Settings) -> Rules:
    return Rules(
        power_w=job.power_w,
        since_move_s=job.since_move_s,
        dwell_s=settings.dwell_s,
        moves_count=job.moves_count,
        moves_per_day=settings.moves_per_day,
        min_gain_ratio=settings.min_gain_ratio,
        window_quantile_ratio=settings.window_quantile_ratio,
        bandwidth_quantile_ratio=settings.bandwidth_quantile_ratio,
    )


def here(site: SiteView | None) -> Here | None:
    if site is None:
        return None
    return Here(
        nonrenewable_ratio=site.nonrenewable_ratio,
        window_s=site.window_remaining_s,
        next_window_s=site.next_window_s,
    )
