"""Which nodes can take which jobs, and what is left after the picks already made in this tick."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .snapshot import JobView, NodeView, SiteView


class Need(NamedTuple):
    """What a job needs of its one node; an empty model takes any. ``refused``: nodes that cannot take it."""

    gpu_count: int
    gpu_model: str
    refused: frozenset[str] = frozenset()


def need(job: JobView) -> Need:
    return Need(job.gpu_count, job.gpu_model, frozenset(job.nodes_refused))


def room(
    sites: Sequence[SiteView], needs: Iterable[Need]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """(needs, sites): is there a node of the model; one of them that does not refuse the job; one of those free."""
    rows = list(needs)
    has_model = np.zeros((len(rows), len(sites)), dtype=np.bool_)
    has_taker = np.zeros_like(has_model)
    has_room = np.zeros_like(has_model)
    for column, site in enumerate(sites):
        for row, need in enumerate(rows):
            fitting = [node for node in site.nodes if _fits_model(node, need)]
            # A site without any node lacks room, not a model.
            has_model[row, column] = not site.nodes or bool(fitting)
            takers = [node for node in fitting if node.node not in need.refused]
            has_taker[row, column] = bool(takers) or not fitting
            has_room[row, column] = any(
                node.slots_free >= 1 and node.gpu_free >= need.gpu_count for node in takers if node.schedulable
            )
    return has_model, has_taker, has_room


def _fits_model(node: NodeView, need: Need) -> bool:
    return need.gpu_count == 0 or not need.gpu_model or node.gpu_model == need.gpu_model


@dataclass
class _Left:
    view: NodeView
    slots: int
    gpus: int


class FreeNodes:
    """What is free, going down as jobs are given nodes. What a moving job leaves behind is free only once it left."""

    def __init__(self, sites: Iterable[SiteView]) -> None:
        self._nodes = {
            site.name: [
                _Left(node, node.slots_free, node.gpu_free)
                for node in sorted(site.nodes, key=lambda node: node.node)
                if node.schedulable
            ]
            for site in sites
        }

    def take(self, site: str, need: Need) -> str | None:
        """Give the job the tightest node that fits, so that large jobs find whole nodes; ties by name; None if full."""
        fitting = [
            left
            for left in self._nodes[site]
            if left.slots >= 1
            and left.gpus >= need.gpu_count
            and _fits_model(left.view, need)
            and left.view.node not in need.refused
        ]
        if not fitting:
            return None
        best = min(fitting, key=lambda left: (left.gpus - need.gpu_count, -left.slots, left.view.node))
        best.slots -= 1
        best.gpus -= need.gpu_count
        return best.view.node
