"""Leases of power caps, on disk before anything is set: whatever dies, the next to look finds what to put back."""

from __future__ import annotations

import logging
import re
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from heliotrope.foundation import records
from heliotrope.foundation.errors import Corrupt, InvalidInput
from heliotrope.foundation.model import PowerCap, Record

log = logging.getLogger("heliotrope.agent.power.caps")

_DEVICE = re.compile(r"[A-Za-z0-9:._-]{1,128}")


class Stage(StrEnum):
    """How far a lease is. Each is written before what it stands for is done."""

    SETTING = "setting"  # the limit may or may not be ours yet
    HELD = "held"
    SUSPENDED = "suspended"  # the limit before is back; a new agent sets ours again while there is time
    ENDING = "ending"  # the limit before may or may not be back yet


class Lease(Record):
    """One device's. ``ours_w``: limits that, if found, are of our making; anything else is somebody else's.

    It ends at ``expires_boottime_s`` on CLOCK_BOOTTIME of the boot ``boot_id``; ``expires_utc`` is for people.
    """

    cap_id: str
    device: str
    requested_w: float
    previous_w: float
    ours_w: tuple[float, ...]
    boot_id: str
    expires_boottime_s: float
    expires_utc: datetime
    set_utc: datetime
    limit_w: float | None = None
    enforced_w: float | None = None
    operator: str = ""
    message: str = ""
    stage: Stage = Stage.SETTING
    cause: str = ""  # of the end
    problem: str = ""  # why it is not as it should be

    def shown(self) -> PowerCap:
        """As the fleet sees it."""
        return PowerCap(
            cap_id=self.cap_id,
            device=self.device,
            requested_w=self.requested_w,
            limit_w=self.limit_w,
            enforced_w=self.enforced_w,
            previous_w=self.previous_w,
            set_utc=self.set_utc,
            expires_utc=self.expires_utc,
            operator=self.operator,
            message=self.message,
            problem=self.problem,
        )


class Leases:
    """One small file per device; a copy in memory, replaced as a whole so that any thread may read it."""

    def __init__(self, folder: Path) -> None:
        """A file that cannot be read is put aside: it must not keep the agent from its other work."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._known = {lease.device: lease for path in sorted(folder.glob("*.json")) if (lease := _read(path))}

    def all(self) -> tuple[Lease, ...]:
        return tuple(self._known.values())

    def find(self, device: str) -> Lease | None:
        return self._known.get(device)

    def put(self, lease: Lease) -> None:
        """Durable on return."""
        records.save(self._path(lease.device), lease)
        self._known = {**self._known, lease.device: lease}

    def remove(self, device: str) -> None:
        """Durable on return. Again: nothing."""
        self._path(device).unlink(missing_ok=True)
        records.sync_folder(self._folder)
        self._known = {name: lease for name, lease in self._known.items() if name != device}

    def _path(self, device: str) -> Path:
        if not _DEVICE.fullmatch(device):
            raise InvalidInput(f"field device: {device!r} is no name of a device; see `nvidia-smi -L`")
        return self._folder / f"{device}.json"


def _read(path: Path) -> Lease | None:
    try:
        return records.load(path, Lease)
    except Corrupt as error:
        path.replace(path.with_suffix(".unreadable"))
        log.error("%s; that device may still be capped: see nvidia-smi -q -d POWER, set its limit by hand", error)
        return None
