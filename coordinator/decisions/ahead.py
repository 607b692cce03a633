"""Where a job will likely go next, and whether its base is worth sending there before that is decided.

**Ours, all of it.** The likeliest next site is not guessed by a second rule beside the planner: it is what the planner
itself would do at later moments, were the forecasts right (:mod:`.later`). The fleet is looked at when any window opens
or closes within the time asked, and at equal steps between. The first look at which the plan moves a job says when it
will leave. From then on each site counts for as long as the plan would choose it:

    share(site) = time for which the plan goes there / time for which it goes anywhere

and the site with the greatest share is the likeliest (ties: the earlier, then by name). So windows, feasibility,
break-even, capacity, policy and the competition of other jobs are all in it; a forecast's error is not, as there is no
measured one yet, but a site that would be chosen for a moment only has a small share. A move is judged as if nothing
had been sent ahead, so that what is sent ahead is paid for in its break-even.

What it is worth: of a full copy ``S f``, a move to a base that is ``age`` older sends ``delta(age)`` instead, hence

    saved = 1 - delta(age) / (S f)

is what the move need not send. It is nearly 1 for a frozen base (LoRA) and 0.02 for full AdamW training in fp32,
where staging ahead sends everything twice: that is why it is asked for.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import msgspec

from .later import later, windows_of
from .planner import moves
from .snapshot import Snapshot
from .wire_model import WireModel

EVEN_LOOKS = 4
LOOKS_LIMIT = 16  # each is a plan of the whole fleet


@dataclass(frozen=True)
class NextSite:
    """``leave_s``: when the plan first moves the job, anywhere; ``share_ratio`` of the site, 0..1; ``node``: the one
    that the plan chose there first."""

    job_id: str
    site: str
    node: str
    leave_s: float
    share_ratio: float


def look_by_look(snapshot: Snapshot, within_s: float) -> Generator[None, None, dict[str, NextSite]]:
    """By job id, of each job that will leave within that time and not now: where to. Raises what the plan raises.

    It pauses after each look: of a large fleet a look takes a good part of a second.
    """
    snapshot = _without_bases(snapshot)
    left_alone = set(moves(snapshot)) | {job.job_id for job in snapshot.jobs if job.must_leave}
    looks = _looks(snapshot, within_s)
    ends = [*looks[1:], within_s + within_s / EVEN_LOOKS]  # the last look counts for a step too
    found: dict[str, dict[str, NextSite]] = {}
    for look_s, end_s in zip(looks, ends, strict=True):
        for job_id, (site, node) in moves(later(snapshot, look_s)).items():
            if job_id not in left_alone:
                sites = found.setdefault(job_id, {})
                seen = sites.setdefault(site, NextSite(job_id, site, node, look_s, 0.0))
                sites[site] = replace(seen, share_ratio=seen.share_ratio + (end_s - look_s))
        yield
    return {job_id: _best(list(sites.values())) for job_id, sites in found.items()}


def saved_ratio(model: WireModel, age_s: float) -> float:
    """Of a full copy, what a move to a base that old need not send (0..1)."""
    full_bytes = model.full_bytes(1.0)
    return 0.0 if full_bytes <= 0 else 1.0 - model.delta_bytes(1.0, age_s) / full_bytes


def rate_now(
    window_s: float, wire_bytes: float, bandwidth_bytes_per_s: float, *, green_rate: int, dark_rate: int
) -> int | None:
    """The rate limit [bytes/s] (0: none) under which a copy may be sent ahead now, None if it may not.

    ``window_s``: what is left of the source's window, 0 if none is open. In it the copy has to be through before it
    ends; else it goes at ``dark_rate``, if there is one.
    """
    reached = min(bandwidth_bytes_per_s, green_rate or bandwidth_bytes_per_s)
    if window_s > 0 and reached > 0 and wire_bytes / reached <= window_s:
        return green_rate
    return dark_rate or None


def _without_bases(snapshot: Snapshot) -> Snapshot:
    jobs = tuple(msgspec.structs.replace(job, held=()) for job in snapshot.jobs)
    return msgspec.structs.replace(snapshot, jobs=jobs)


def _looks(snapshot: Snapshot, within_s: float) -> list[float]:
    """When to look, in order: at every edge of a window, unless there are too many, and at equal steps."""
    edges = {edge for site in snapshot.sites for window in windows_of(site) for edge in (window.start_s, window.end_s)}
    inside = sorted(edge for edge in edges if 0 < edge < within_s)
    room = LOOKS_LIMIT - EVEN_LOOKS
    if len(inside) > room:
        inside = [inside[index * len(inside) // room] for index in range(room)]
    even = {within_s * (number + 1) / EVEN_LOOKS for number in range(EVEN_LOOKS)}
    return sorted({*inside, *even})


def _best(sites: list[NextSite]) -> NextSite:
    total_s = sum(site.share_ratio for site in sites)
    best = min(sites, key=lambda site: (-site.share_ratio, site.leave_s, site.site))
    leave_s = min(site.leave_s for site in sites)
    return replace(best, leave_s=leave_s, share_ratio=best.share_ratio / total_s)
