"""Meters of the kernel's hwmon class, for the chips whose scope is known.

A chip that is not in the table is left out: a number of which nobody can say what it covers cannot be added to
anything. ``powerN_input`` / ``powerN_average`` are microwatts, ``energyN_input`` microjoules (kernel:
Documentation/hwmon/sysfs-interface). NVIDIA Grace shows its meters as ``power_meter`` chips told apart by
``device/power1_oem_info``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..reading import Channel, Scope
from .file_source import FileSource, Meter, probed
from .files import number_in, read_int, read_label

NAME = "hwmon"

_CHIPS = {
    "power_meter": Scope.NODE,  # ACPI: the supply's meter
    "corsairpsu": Scope.NODE,
    "ibmpowernv": Scope.NODE,
    "amd_energy": Scope.PACKAGE,
    "fam15h_power": Scope.PACKAGE,
    "amdgpu": Scope.GPU,
    "i915": Scope.GPU,
    "xe": Scope.GPU,
}
# Channels of a chip that show a part of what another of its channels already covers.
_TOTAL_LABELS = {"corsairpsu": ("power total",), "ibmpowernv": ("System",), "xe": ("card",)}


def open_hwmon(sys_root: Path, monotonic_s: Callable[[], float]) -> tuple[FileSource | None, list[str]]:
    """The meters that answer (None if none does) and what kept others from answering."""
    folder = sys_root / "class" / "hwmon"
    chips = sorted(folder.iterdir(), key=lambda chip: number_in(chip.name)) if folder.is_dir() else []
    meters = [meter for chip in chips for meter in _chip_meters(chip)]
    working, problems = probed(meters, monotonic_s())
    return (FileSource(NAME, working, monotonic_s) if working else None), problems


def _chip_meters(chip: Path) -> list[Meter]:
    name = read_label(chip / "name")
    scope = _CHIPS.get(name)
    if scope is None:
        return []
    if name == "amdgpu" and (chip / "in1_label").exists():
        scope = Scope.PACKAGE  # only integrated ones have a northbridge voltage; their power is the whole package's
    place = _place(chip)
    meters = []
    for number, files in _numbered(chip).items():
        label = _label(chip, number, files)
        if name in _TOTAL_LABELS and label and label not in _TOTAL_LABELS[name]:
            continue
        if name == "amd_energy" and not label.startswith("Esocket"):
            continue
        channel_scope = _grace_scope(label) if name == "power_meter" else scope
        if channel_scope is not None:
            meters.append(_meter(name, f"{NAME}:{name}:{place}:{number}", label, channel_scope, files))
    return meters


def _meter(chip: str, device: str, label: str, scope: Scope, files: dict[str, Path]) -> Meter:
    energy = files.get("energy")
    power = files.get("power_input") or files.get("power_average")
    channel = Channel(
        device=device,
        source=NAME,
        scope=scope,
        label=label or chip,
        has_counter=energy is not None,
        counter_step_s=0.1,  # not documented by most drivers; the slowest known one updates every 100 ms
    )
    return Meter(
        channel,
        energy_j=(lambda: read_int(energy) / 1e6) if energy else None,
        power_w=(lambda: read_int(power) / 1e6) if power else None,
    )


def _numbered(chip: Path) -> dict[int, dict[str, Path]]:
    """Number of the channel -> what it has. Some drivers keep the files one level down, in ``device``."""
    found: dict[int, dict[str, Path]] = {}
    for folder in (chip / "device", chip):
        for kind, pattern in (
            ("power_average", "power*_average"),
            ("power_input", "power*_input"),
            ("energy", "energy*_input"),
        ):
            for path in folder.glob(pattern):
                found.setdefault(number_in(path.name), {})[kind] = path
    return dict(sorted(found.items()))


def _label(chip: Path, number: int, files: dict[str, Path]) -> str:
    for folder in (chip, chip / "device"):
        for name in (f"power{number}_label", f"energy{number}_label", f"power{number}_oem_info"):
            if text := read_label(folder / name):
                return text
    return ""


def _place(chip: Path) -> str:
    """Where the chip sits (its bus address), which survives reboots; hwmon numbers do not."""
    device = chip / "device"
    return device.resolve().name if device.exists() else chip.name


def _grace_scope(label: str) -> Scope | None:
    """Grace: the module contains GPU and CPU, "Grace" the CPU socket, which contains "CPU" and "SysIO"."""
    first = label.split(" ", maxsplit=1)[0]
    if first == "Module":
        return Scope.MODULE
    if first == "Grace":
        return Scope.PACKAGE
    return None if first in ("CPU", "SysIO") else Scope.NODE
