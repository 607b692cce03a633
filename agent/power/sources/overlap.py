"""Which meters may be added up.

Meters overlap: a node contains its packages, a GH200 module its GPU and its CPU. A set that covers each watt at most
once is chosen; GPUs metered one by one are worth more than a total, because only they can be attributed to jobs.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..reading import Channel, Scope
from .names import HARDWARE


def choose(channels: Sequence[Channel]) -> frozenset[str]:
    """The devices of a non-overlapping set.

    A Jetson's total wins, as its GPU is inside. With GPUs (or GPU modules) metered: those, and beside GPUs the CPU
    packages and memory, never a node total that may contain them. Without: one node total, else module, else packages
    and memory, else cores.
    """
    boards = [channel for channel in channels if channel.source == "jetson"]
    if boards:
        return _devices(boards)
    gpus = [channel for channel in channels if channel.scope is Scope.GPU]  # a driver shows only its own vendor's
    modules = _best_source(channels, Scope.MODULE)
    cpus = _best_source(channels, Scope.PACKAGE) or _best_source(channels, Scope.CORE)
    cpus += _best_source(channels, Scope.DRAM)
    nvml_modules = [channel for channel in modules if channel.source == "nvml"]
    if nvml_modules:
        return _devices(nvml_modules + [gpu for gpu in gpus if gpu.source == "nvml"])
    if gpus:
        return _devices(gpus + cpus)
    nodes = _best_source(channels, Scope.NODE)
    if nodes:
        return _devices(nodes[:1])
    return _devices(modules or cpus)


def covers_host(channels: Sequence[Channel]) -> bool:
    """Whether anything here measures more than GPUs; where nothing does, the declared model stands in."""
    return any(channel.scope not in (Scope.GPU, Scope.DRAM) for channel in channels)


def _best_source(channels: Sequence[Channel], scope: Scope) -> list[Channel]:
    """All channels of that scope from the most trusted source with one: a second source would show the same thing."""
    found = [channel for channel in channels if channel.scope is scope]
    best = min((HARDWARE.index(channel.source) for channel in found), default=0)
    return [channel for channel in found if HARDWARE.index(channel.source) == best]


def _devices(channels: Sequence[Channel]) -> frozenset[str]:
    return frozenset(channel.device for channel in channels)
