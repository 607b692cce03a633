"""Jetson boards: the total of a board from its INA3221 or INA238 monitors.

Which rails make the total differs by board, and some contain others (VDD_IN contains all of an Orin NX), so a table
says it; a board that is not in it is not guessed. The total is read as a whole: one missing rail fails the reading.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from ..reading import Channel, Scope
from .file_source import FileSource, Meter, probed
from .files import read_int, read_label

NAME = "jetson"


class Board(msgspec.Struct, frozen=True):
    """``match`` is a part of the device tree's model, ``rails`` what adds up to the board's input."""

    name: str
    match: str
    rails: tuple[str, ...]


# Order matters: "Orin NX" before "Orin", "Xavier NX" before "Xavier", "Orin Nano" before "Nano".
BOARDS = (
    Board("AGX Thor", "Thor", ("VIN",)),
    Board("Orin NX", "Orin NX", ("VDD_IN",)),
    Board("Orin Nano", "Orin Nano", ("VDD_IN",)),
    Board("AGX Orin", "AGX Orin", ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")),
    Board("Xavier NX", "Xavier NX", ("VDD_IN",)),
    Board("AGX Xavier", "Xavier", ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V")),
    Board("AGX Xavier", "Jetson-AGX", ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V")),
    Board("Nano", "Nano", ("POM_5V_IN",)),
)

Read = Callable[[], float]


def open_jetson(sys_root: Path, monotonic_s: Callable[[], float]) -> tuple[FileSource | None, list[str]]:
    """The board's total as one channel of scope node; None on anything that is no Jetson. Problems name what is
    missing.
    """
    rails = _rails(sys_root)
    if not rails:
        return None, []
    model = read_label(sys_root / "firmware" / "devicetree" / "base" / "model")
    board = next((board for board in BOARDS if board.match in model), None)
    if board is None:
        return None, [
            f"cannot measure board {model!r}: not in the table of Jetson boards, so its total is unknown;"
            f" report its rails: {', '.join(sorted(rails))}"
        ]
    parts = [_find(rails, rail) for rail in board.rails]
    missing = [rail for rail, part in zip(board.rails, parts, strict=True) if part is None]
    if missing:
        return None, [f"cannot measure board {board.name}: no rail {', '.join(missing)}; check the ina3221 driver"]
    total = partial(_sum_w, [part for part in parts if part is not None])
    channel = Channel(device=f"{NAME}:{board.name}", source=NAME, scope=Scope.NODE, label="+".join(board.rails))
    working, problems = probed([Meter(channel, power_w=total)], monotonic_s())
    return (FileSource(NAME, working, monotonic_s) if working else None), problems


def _sum_w(parts: list[Read]) -> float:
    return sum(part() for part in parts)


def _find(rails: dict[str, Read], rail: str) -> Read | None:
    """Exact label, else one that ends in it: AGX Xavier's "GPU" is "GPU" on new releases and "VDD_GPU" elsewhere."""
    if rail in rails:
        return rails[rail]
    return next((read for label, read in sorted(rails.items()) if label.endswith(f"_{rail}")), None)


def _rails(sys_root: Path) -> dict[str, Read]:
    drivers = sys_root / "bus" / "i2c" / "drivers"
    found: dict[str, Read] = {}
    for folder in sorted(drivers.glob("ina3221x/*/iio:device*")):  # releases before JetPack 5
        for label in sorted(folder.glob("rail_name_*")):
            number = label.name.removeprefix("rail_name_")
            _add(found, read_label(label), partial(_milliwatts_w, folder / f"in_power{number}_input"))
    for folder in sorted(drivers.glob("ina3221/*/hwmon/hwmon*")):
        for label in sorted(folder.glob("in*_label")):
            number = label.name.removeprefix("in").removesuffix("_label")
            if number != "7":  # in7 is the chip's own sum of shunts
                volts, current = folder / f"in{number}_input", folder / f"curr{number}_input"
                _add(found, read_label(label), partial(_product_w, volts, current))
    for folder in sorted(drivers.glob("ina238/*/hwmon/hwmon*")):
        label_text = read_label(folder / "power1_label") or read_label(folder / "in1_label") or "VIN"
        _add(found, label_text, partial(_microwatts_w, folder / "power1_input"))
    return found


def _add(rails: dict[str, Read], label: str, read: Read) -> None:
    if label and "NC" not in label.split("_") and label != "NC":
        rails.setdefault(label, read)


def _milliwatts_w(path: Path) -> float:
    return read_int(path) / 1e3


def _microwatts_w(path: Path) -> float:
    return read_int(path) / 1e6


def _product_w(volts: Path, current: Path) -> float:
    """mV x mA = microwatts."""
    return read_int(volts) * read_int(current) / 1e6
