"""What leaves the room: the energy of one span, by device and by job, with closed books.

These are spooled as arrays, without field names: a new field goes to the end and has a default.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

IDLE = ""  # nobody's: the device was free
UNATTRIBUTED = "?"  # somebody's, but of no job here


class DeviceEnergy(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One device's joules over the batch. ``estimated`` is True for the declared model.

    ``energy_j`` is what was measured in ``coverage_ratio`` of the span; at coverage 0.0 nothing was, and the powers
    are None. ``gap_reason`` is empty when nothing went wrong.
    """

    device: str
    source: str
    scope: str
    estimated: bool
    energy_j: float
    min_w: float | None
    mean_w: float | None
    max_w: float | None
    coverage_ratio: float
    gap_reason: str = ""


class EnergyShare(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The part of one device's joules that one job owes ("" is idle, "?" unattributed).

    ``rule`` says how it was found: cgroup (CPU time of the job's control group), cpu (of its process tree), sm, mig,
    memory, equal (shares), holder (idle but held), idle, unknown.
    """

    device: str
    job_id: str
    energy_j: float
    rule: str


class EnergyBatch(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One span on one node. For every device the shares add up to its ``energy_j``, to the microjoule.

    ``start_boottime_s`` with ``boot_id`` places the span even where the node's UTC was wrong.
    """

    boot_id: str
    start_utc: datetime
    end_utc: datetime
    start_boottime_s: float
    devices: tuple[DeviceEnergy, ...]
    shares: tuple[EnergyShare, ...]


class CurrentPower(msgspec.Struct, frozen=True, kw_only=True):
    """The latest watts. A device without a live reading is absent; ``is_estimated`` if any of it is from the model."""

    device_w: dict[str, float] = {}
    job_w: dict[str, float] = {}
    is_estimated: bool = False

    @property
    def total_w(self) -> float:
        return sum(self.device_w.values())
