"""The links as matrices, rows the source site, columns the destination."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heliotrope.foundation.errors import InvalidInput

from .snapshot import ANY, LinkView


@dataclass(frozen=True)
class LinkColumns:
    """(S, S) each; bandwidth 0 where a pair cannot meet."""

    bandwidth_bytes_per_s: NDArray[np.float64]
    latency_s: NDArray[np.float64]
    e_net_j_per_byte: NDArray[np.float64]


def link_columns(links: Iterable[LinkView], index: dict[str, int], local_bandwidth_bytes_per_s: float) -> LinkColumns:
    """Matrices over the sites of ``index``. A link of two names beats one with ``*``; a source beats a destination.

    Within a site the local bandwidth holds unless a link names it. Links to sites that are not there are left out.
    Raises InvalidInput naming the link and the field.
    """
    count = len(index)
    bandwidth, latency, e_net = np.zeros((count, count)), np.zeros((count, count)), np.zeros((count, count))
    ordered = sorted(links, key=_precision)
    _refuse_twice(ordered)
    for link in ordered:
        if _precision(link) < EXACT:
            _fill(link, index, bandwidth, latency, e_net)
    # Wildcards do not speak of a site's inside.
    np.fill_diagonal(bandwidth, local_bandwidth_bytes_per_s)
    np.fill_diagonal(latency, 0.0)
    np.fill_diagonal(e_net, 0.0)
    for link in ordered:
        if _precision(link) == EXACT:
            _fill(link, index, bandwidth, latency, e_net)
    return LinkColumns(bandwidth, latency, e_net)


EXACT = 3


def _refuse_twice(links: Sequence[LinkView]) -> None:
    seen: set[tuple[str, str]] = set()
    for link in links:
        if (link.source, link.destination) in seen:
            raise InvalidInput(
                f"cannot decide: link {link.source} -> {link.destination} occurs twice in the snapshot; keep one"
            )
        seen.add((link.source, link.destination))


def _precision(link: LinkView) -> int:
    """Sorts wildcards first, so that the more precise link overwrites them."""
    return 2 * (link.source != ANY) + (link.destination != ANY)


def _fill(link: LinkView, index: dict[str, int], *matrices: NDArray[np.float64]) -> None:
    source = slice(None) if link.source == ANY else index.get(link.source)
    destination = slice(None) if link.destination == ANY else index.get(link.destination)
    values = (
        link.bandwidth_bytes_per_s if link.reachable else 0.0,
        link.latency_s,
        link.e_net_j_per_byte,
    )
    if not all(math.isfinite(value) and value >= 0 for value in values):
        raise InvalidInput(
            f"cannot decide: link {link.source} -> {link.destination}: bandwidth_bytes_per_s, latency_s and "
            f"e_net_j_per_byte are {values}; they need finite numbers >= 0"
        )
    if source is None or destination is None:
        return
    for matrix, value in zip(matrices, values, strict=True):
        matrix[source, destination] = value
