"""Where a job that runs nowhere starts (ours; the paper speaks of running jobs only).

It starts somewhere if any node is free, window or not: the greenest site by the mean non-renewable share of its energy
over one span, the same for all sites. A job that may move is judged over the longest window now open (at least
the dwell time), because it can leave again; one that may not, over its whole run. What must be sent from where its
checkpoint lies counts against a site.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .binding import Binding
from .columns import Columns, Floats
from .decision import Candidate
from .snapshot import JobView


@dataclass(frozen=True)
class Places:
    """One job against all sites, (S,) each: mean share, span judged [s], score [W non-renewable], binding."""

    nonrenewable_ratio: Floats
    span_s: Floats
    score_w: Floats
    binding: tuple[Binding, ...]


def places(columns: Columns, row: int, job: JobView) -> Places:
    """Score of every site for one job; NaN where the forecast is unknown, which makes a site the last choice."""
    sites = columns.sites
    span_s = np.minimum(_span_s(columns, row, job), sites.known_s)
    mean = _mean_share(columns, span_s)
    power_w = job.power_w or 1.0  # nothing known of its power: any weight ranks the sites alike
    with np.errstate(divide="ignore", invalid="ignore"):
        score_w = power_w * sites.pue * mean + _sending_j(columns, row) / span_s
    return Places(mean, span_s, score_w, _bindings(columns, row, job))


def order(columns: Columns, found: Places, preferred: frozenset[str]) -> list[int]:
    """The sites that may take the job: preferred first, then the lowest score, ties by name."""
    scores = np.nan_to_num(found.score_w, nan=np.inf).tolist()
    able = [site for site, binding in enumerate(found.binding) if binding is Binding.OK]
    return sorted(able, key=lambda site: (columns.site_names[site] not in preferred, scores[site], site))


def candidates(columns: Columns, found: Places, preferred: frozenset[str], kept: Sequence[int]) -> list[Candidate]:
    """Records of the given sites."""
    return [
        Candidate(
            site=columns.site_names[site],
            binding=found.binding[site].label,
            preferred=columns.site_names[site] in preferred,
            nonrenewable_ratio=_known(found.nonrenewable_ratio[site]),
            window_s=float(columns.sites.window_s[site]),
            span_s=float(found.span_s[site]),
        )
        for site in kept
    ]


def _span_s(columns: Columns, row: int, job: JobView) -> float:
    """One span for all sites, so that means are compared over the same time."""
    span_s = min(float(columns.jobs.remaining_s[row]), columns.settings.horizon_s)
    if job.movable and columns.shape[1]:
        span_s = min(span_s, max(columns.settings.dwell_s, float(np.max(columns.sites.window_s))))
    return max(span_s, 1.0)


def _mean_share(columns: Columns, span_s: Floats) -> Floats:
    sites = columns.sites
    if sites.profile_s.shape[1] == 1:
        return np.full(span_s.shape, np.nan)
    position = span_s / sites.step_s
    index = np.minimum(position.astype(np.int64), sites.profile_s.shape[1] - 2)
    every = np.arange(span_s.size)
    low = sites.profile_s[every, index]
    total = low + (sites.profile_s[every, index + 1] - low) * (position - index)
    mean: Floats = np.where(span_s > 0, total / np.where(span_s > 0, span_s, 1.0), np.nan)
    return mean


def _sending_j(columns: Columns, row: int) -> Floats:
    """Non-renewable energy of sending the checkpoint there; nothing where it lies already."""
    source = int(columns.jobs.site[row])
    shares = columns.sites.nonrenewable_now
    if source < 0:
        return np.zeros(shares.shape)
    wire = float(columns.jobs.wire_bytes[row])
    sending: Floats = wire * columns.links.e_net_j_per_byte[source] * (shares + shares[source]) / 2
    sending[source] = 0.0
    return sending


def _bindings(columns: Columns, row: int, job: JobView) -> tuple[Binding, ...]:
    source = int(columns.jobs.site[row])
    need, policy = int(columns.jobs.need[row]), int(columns.jobs.policy[row])
    found = []
    for site in range(columns.shape[1]):
        cut_off = source >= 0 and job.state_bytes > 0 and site != source
        if columns.forbidden[policy, site]:
            found.append(Binding.FORBIDDEN)
        elif cut_off and columns.links.bandwidth_bytes_per_s[source, site] <= 0:
            found.append(Binding.UNREACHABLE)
        elif not columns.has_model[need, site]:
            found.append(Binding.GPU_MODEL)
        elif not columns.has_taker[need, site]:
            found.append(Binding.REFUSED)
        elif not columns.has_room[need, site]:
            found.append(Binding.CAPACITY)
        else:
            found.append(Binding.OK)
    return tuple(found)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
