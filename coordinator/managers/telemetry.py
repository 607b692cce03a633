"""Energy as agents send it; field names follow the message of this name."""

from __future__ import annotations

from datetime import datetime

from heliotrope.foundation.model import Record


class DeviceEnergy(Record):
    """One device over the batch's span."""

    device: str
    source: str
    scope: str = ""
    estimated: bool = False
    energy_j: float = 0.0
    coverage_ratio: float = 0.0
    gap_reason: str = ""


class EnergyShare(Record):
    """A job's part of a device's energy; "" idle, "?" unattributed."""

    device: str
    job_id: str
    energy_j: float


class EnergyBatch(Record):
    """A span of one node, keyed (node, spool_id, sequence)."""

    spool_id: str
    sequence: int
    start_utc: datetime
    end_utc: datetime
    devices: tuple[DeviceEnergy, ...] = ()
    shares: tuple[EnergyShare, ...] = ()
    gap_reason: str = ""
    gap_count: int = 0
    boot_id: str = ""
    start_boottime_s: float = 0.0
