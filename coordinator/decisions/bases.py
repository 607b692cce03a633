"""What already lies at a site, of a job that might move there: the node that holds it, and what it leaves to send.

**Ours.** A move to a node with a base sends the changes since that base, not the whole state; so of the nodes that
could take the job, the one is chosen for which the least is left to send, and only its figures count for the site.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .capacity import Need, can_take
from .snapshot import HeldView, JobView, SiteView


@dataclass(frozen=True)
class Base:
    """Of one pair, by their places in the columns: what is sent to the node that holds something."""

    job: int
    site: int
    node: str
    age_s: float
    wire_bytes: float
    move_wire_bytes: float
    why: str


def bases(jobs: Sequence[JobView], sites: Sequence[SiteView], index: dict[str, int]) -> dict[int, dict[int, Base]]:
    """Job -> site -> the best base of each pair that has one at a node with room; few. ``index``: name -> place."""
    found: dict[int, dict[int, Base]] = {}
    for base in _bases(jobs, sites, index):
        found.setdefault(base.job, {})[base.site] = base
    return found


def _bases(jobs: Sequence[JobView], sites: Sequence[SiteView], index: dict[str, int]) -> Iterator[Base]:
    for row, job in enumerate(jobs):
        need = Need(job.gpu_count, job.gpu_model)
        for name in sorted({held.site for held in job.held} & set(index) - {job.site}):
            found = _best(job, need, sites[index[name]])
            if found is not None:
                yield Base(
                    job=row,
                    site=index[name],
                    node=found.node,
                    age_s=found.age_s,
                    wire_bytes=found.wire_bytes,
                    move_wire_bytes=found.move_wire_bytes,
                    why=found.why,
                )


def _best(job: JobView, need: Need, site: SiteView) -> HeldView | None:
    able = {node.node for node in site.nodes if can_take(node, need) and node.node not in job.nodes_refused}
    there = [held for held in job.held if held.site == site.name and held.node in able]
    return min(there, key=lambda held: (held.move_wire_bytes, held.wire_bytes, held.node), default=None)
