"""CPU energy from the kernel's powercap tree (RAPL: Intel, and AMD from Zen on).

``energy_uj`` counts microjoules and starts again at ``max_energy_range_uj``; since the "Platypus" leak only root or
CAP_DAC_READ_SEARCH may read it. Zones overlap: psys contains the packages, a package contains its cores and uncore. The
``intel-rapl-mmio`` zones show the same packages a second time and are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..reading import Channel, Scope, SensorError
from .file_source import FileSource, Meter, probed
from .files import number_in, read_int, read_label

NAME = "rapl"
_STEP_S = 0.001  # the counters are updated about every millisecond


def open_rapl(sys_root: Path, monotonic_s: Callable[[], float]) -> tuple[FileSource | None, list[str]]:
    """The zones that answer (None if none does) and what kept others from answering."""
    meters = [meter for zone in _zones(sys_root) if (meter := _meter(zone)) is not None]
    working, problems = probed(meters, monotonic_s())
    return (FileSource(NAME, working, monotonic_s) if working else None), problems


def _zones(sys_root: Path) -> list[Path]:
    folder = sys_root / "class" / "powercap"
    if not folder.is_dir():
        return []
    return sorted(
        (zone for zone in folder.iterdir() if zone.name.startswith("intel-rapl:")),
        key=lambda zone: [number_in(part) for part in zone.name.split(":")],
    )


def _meter(zone: Path) -> Meter | None:
    name = read_label(zone / "name")
    scope = _scope(name)
    if scope is None:
        return None
    try:
        wrap_j = read_int(zone / "max_energy_range_uj") / 1e6
    except SensorError:
        wrap_j = 0.0  # a smaller counter then counts as a reset: a gap, never a wrong number
    # A subzone's name (dram) repeats in every package: the zone's number makes it unique.
    path = zone.name.removeprefix("intel-rapl:")
    channel = Channel(
        device=f"{NAME}:{name}" if ":" not in path else f"{NAME}:{name}:{path}",
        source=NAME,
        scope=scope,
        label=name,
        has_counter=True,
        wrap_j=wrap_j,
        counter_step_s=_STEP_S,
    )
    return Meter(channel, energy_j=lambda: read_int(zone / "energy_uj") / 1e6)


def _scope(name: str) -> Scope | None:
    for prefix, scope in (
        ("package", Scope.PACKAGE),
        ("psys", Scope.NODE),
        ("dram", Scope.DRAM),
        ("core", Scope.CORE),
    ):
        if name.startswith(prefix):
            return scope
    return None
