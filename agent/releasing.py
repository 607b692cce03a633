"""Ask the agent of this machine to let go of the GPUs' drivers, and wait until it has."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from heliotrope.foundation.clock import SystemClock
from heliotrope.foundation.errors import Conflict, DeadlineExceeded
from heliotrope.foundation.model import Record

from .only_one import only_one
from .power.caps.keeper import caps_folder
from .power.caps.lease import Leases
from .power.release import DriverRelease, Note

WAIT_S = 30.0
_POLL_S = 0.1


class Released(Record):
    """``agent_runs`` is False where nothing held the drivers: an agent that starts before the end waits for it."""

    for_s: float
    agent_runs: bool


def release_driver(state_dir: Path, for_s: float, *, wait_s: float = WAIT_S) -> Released:
    """Returns when the agent has closed its drivers. Raises Conflict over power caps, DeadlineExceeded."""
    leases = caps_folder(state_dir) / "leases"
    refuse_caps([lease.device for lease in Leases(leases).all()] if leases.is_dir() else [])
    release = DriverRelease(state_dir, SystemClock())
    note = release.begin(for_s)
    if not _agent_runs(state_dir):
        return Released(for_s=for_s, agent_runs=False)
    if not _answered(release, note, wait_s):
        release.end()
        raise DeadlineExceeded(
            f"cannot release the drivers: the agent of {state_dir} did not close them in {wait_s:.0f} s; see its log"
        )
    return Released(for_s=for_s, agent_runs=True)


def refuse_caps(capped: Sequence[str]) -> None:
    """A limit that is set has to be watched and put back through the driver. Raises Conflict naming the devices."""
    if capped:
        raise Conflict(
            f"cannot release the drivers: power caps are in force on {', '.join(capped)}; "
            "end them first: heliotrope node uncap NODE"
        )


def retake_driver(state_dir: Path) -> bool:
    """Let the agent have its drivers again; whether they were released."""
    return DriverRelease(state_dir, SystemClock()).end()


def _answered(release: DriverRelease, note: Note, wait_s: float) -> bool:
    deadline_s = time.monotonic() + wait_s
    while not release.is_answered(note):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(_POLL_S)
    return True


def _agent_runs(state_dir: Path) -> bool:
    try:
        with only_one(state_dir):
            return False
    except Conflict:
        return True
