"""One direction between two sites, as it is known: learnt from transfers, else declared, else assumed."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from ..config import CoordinatorConfig, LinkConfig
from ..decisions.snapshot import ANY, LinkView, Settings
from ..state.database import Transaction

# Below this many measured transfers a declared rate is the better guess.
SAMPLES_NEEDED = 5


def learnt_bandwidth(tx: Transaction, source: str, destination: str) -> float | None:
    """The median of the newest transfers of this direction [bytes/s]; None below five."""
    samples = tx.nodes.samples(source, destination)
    return statistics.median(samples) if len(samples) >= SAMPLES_NEEDED else None


def declared(config: CoordinatorConfig, source: str, destination: str) -> LinkConfig | None:
    """The configured link of this direction; one that holds both ways counts unless the direction has its own."""
    for link in config.links:
        if (link.source, link.destination) == (source, destination):
            return link
    for link in config.links:
        if link.both_ways and (link.destination, link.source) == (source, destination):
            return link
    return None


def typical_bandwidth(links: Iterable[LinkView], source: str) -> float:
    """The median of the directions out of a site, else what is assumed of any [bytes/s]; 0 if there is none."""
    known = list(links)
    own = [one.bandwidth_bytes_per_s for one in known if one.source == source]
    return statistics.median(own or [one.bandwidth_bytes_per_s for one in known if one.source == ANY] or [0.0])


def link(tx: Transaction, config: CoordinatorConfig, source: str, destination: str) -> LinkView:
    """The direction with the best figures there are."""
    known, learnt = declared(config, source, destination), learnt_bandwidth(tx, source, destination)
    planner = config.planner
    assumed = Settings().local_bandwidth_bytes_per_s if source == destination else planner.default_bandwidth_bytes_per_s
    network_j = 0.0 if source == destination else planner.default_energy_j_per_byte
    return LinkView(
        source=source,
        destination=destination,
        bandwidth_bytes_per_s=learnt or (known.bandwidth_bytes_per_s if known else assumed),
        latency_s=known.latency_s if known else 0.0,
        e_net_j_per_byte=known.energy_j_per_byte if known else network_j,
    )
