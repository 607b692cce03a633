"""Which sensors really work here: each named source is opened and asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..source import Source
from .hwmon import open_hwmon
from .jetson import open_jetson
from .names import HARDWARE
from .nvml import open_nvml
from .overlap import choose
from .rapl import open_rapl


def detect(names: Sequence[str], *, sys_root: Path, monotonic_s: Callable[[], float]) -> tuple[list[Source], list[str]]:
    """Open each named source, keep a non-overlapping set of its channels.

    Returns the sources that have a channel left and, for a person, what kept others from working.
    """
    sources: list[Source] = []
    problems: list[str] = []
    for name in (name for name in HARDWARE if name in names):
        source, found = _open(name, sys_root, monotonic_s)
        problems += found
        if source is not None:
            sources.append(source)
    chosen = choose([channel for source in sources for channel in source.channels])
    kept: list[Source] = []
    for source in sources:
        source.keep(chosen)
        if source.channels:
            kept.append(source)
        else:
            source.close()
    return kept, problems


def _open(name: str, sys_root: Path, monotonic_s: Callable[[], float]) -> tuple[Source | None, list[str]]:
    if name == "nvml":
        return open_nvml(monotonic_s)
    if name == "jetson":
        return open_jetson(sys_root, monotonic_s)
    if name == "rapl":
        return open_rapl(sys_root, monotonic_s)
    return open_hwmon(sys_root, monotonic_s)
