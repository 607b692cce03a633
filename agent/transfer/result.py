"""What a pull reports while it runs and when it is done, and what it may be told."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from heliotrope.agent.checkpoints.manifest import Manifest
from heliotrope.agent.checkpoints.restore import Owner

from .budget import Limiter, Rate
from .connection import SocketOptions


@dataclass(frozen=True)
class Progress:
    """How far a pull is. ``ratio``: fetched state bytes per byte on the wire; ``left_s`` None until a rate is known."""

    done_bytes: int
    total_bytes: int
    wire_bytes: int
    rate_bytes_per_s: float
    ratio: float
    left_s: float | None


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class PullOptions:
    """Limits of a pull. ``connections`` None adapts between 2 and ``connection_limit``; ``rate``: bytes per second;
    ``limiter`` instead of it: one that other pulls share.

    ``memory_bytes`` bounds what is asked for and not yet written; ``reserve_bytes`` stay free on the disk;
    ``owner``: (uid, gid).
    """

    connections: int | None = None
    connection_limit: int = 32
    memory_bytes: int = 256 << 20
    decoder_count: int = os.cpu_count() or 1
    reserve_bytes: int = 0
    give_up_s: float = 120.0
    idle_s: float = 30.0
    connect_s: float = 10.0
    rate: Rate = None
    limiter: Limiter | None = None
    owner: Owner | None = None
    socket: SocketOptions = field(default_factory=SocketOptions)


@dataclass(frozen=True)
class PullResult:
    """A verified checkpoint at its final place.

    state_bytes = fetched + reused + resumed bytes + holes; ``delta_bytes`` of the fetched came as deltas.
    ``wire_bytes`` counts both directions and every attempt. ``network_s`` ends with the last chunk written,
    ``duration_s`` after the read-back.
    """

    manifest_digest: bytes
    manifest: Manifest
    state_bytes: int
    wire_bytes: int
    fetched_bytes: int
    reused_bytes: int
    resumed_bytes: int
    delta_bytes: int
    chunks: int
    network_s: float
    duration_s: float
    connections: int
    cuts: int
