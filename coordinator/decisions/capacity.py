"""Which nodes can take which jobs, and what is left after the picks already made in this tick."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .snapshot import NodeView, SiteView, TransferView


class Need(NamedTuple):
    """What a job needs of its one node; an empty model takes any."""

    gpu_count: int
    gpu_model: str


def room(sites: Sequence[SiteView], needs: Iterable[Need]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(needs, sites): is there a schedulable node of the model at all; is one of them free."""
    rows = list(needs)
    has_model = np.zeros((len(rows), len(sites)), dtype=np.bool_)
    has_room = np.zeros_like(has_model)
    for column, site in enumerate(sites):
        for row, need in enumerate(rows):
            fitting = [node for node in site.nodes if _fits_model(node, need)]
            # A site without any node lacks room, not a model.
            has_model[row, column] = not site.nodes or bool(fitting)
            has_room[row, column] = any(can_take(node, need) for node in fitting)
    return has_model, has_room


def can_take(node: NodeView, need: Need) -> bool:
    """Whether the node takes jobs, has GPUs of the model and has room now."""
    fits = node.schedulable and _fits_model(node, need)
    return fits and node.slots_free >= 1 and node.gpu_free >= need.gpu_count


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

    def take(self, site: str, need: Need, avoid: Collection[str] = (), prefer: str = "") -> str | None:
        """Give the job the node ``prefer`` if it fits, where a base lies; else the tightest one, so that large jobs
        find whole nodes; ties by name; None if full."""
        fitting = [
            left
            for left in self._nodes[site]
            if left.slots >= 1 and left.gpus >= need.gpu_count and _fits_model(left.view, need)
            if left.view.node not in avoid
        ]
        if not fitting:
            return None
        best = min(
            fitting,
            key=lambda left: (left.view.node != prefer, left.gpus - need.gpu_count, -left.slots, left.view.node),
        )
        best.slots -= 1
        best.gpus -= need.gpu_count
        return best.view.node

    def give_back(self, site: str, node: str, need: Need) -> None:
        """Undo a :meth:`take` that came to nothing."""
        for left in self._nodes[site]:
            if left.view.node == node:
                left.slots += 1
                left.gpus += need.gpu_count


class Turns:
    """Which links still take a transfer of a job that takes turns; several at once would only slow each other."""

    def __init__(self, transfers: Iterable[TransferView], limit: int) -> None:
        self._open = Counter((one.source, one.destination) for one in transfers)
        self._limit = limit

    def are_left(self, source: str, destination: str) -> bool:
        return self._open[(source, destination)] < self._limit

    def take(self, source: str, destination: str) -> None:
        self._open[(source, destination)] += 1
