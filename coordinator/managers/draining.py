"""What becomes of a job on a drained node: pure, from the drain's mode and deadline and where the job stands.

Where a job that must leave goes, the planner says (:mod:`..decisions.planner`); here is whether it is to be moved,
stopped or left alone, and what is called back when the wish changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from heliotrope.foundation.model import DrainMode, MigrationKind, MigrationStep

from .steps import BEFORE_THE_JOB_STOPS, BEFORE_THE_LEASE_PASSES


class Do(Enum):
    """The one thing to do about a job now."""

    NOTHING = "nothing"
    STOP = "stop"  # ask for a last checkpoint, then stop it
    KILL = "kill"  # its last checkpoint timed out: stop it without one
    CALL_BACK = "call back"  # give its open migration up


@dataclass(frozen=True)
class Underway:
    """A job's open migration, seen from the drained node."""

    kind: MigrationKind
    step: MigrationStep
    is_arriving: bool  # the node is its destination
    is_of_drain: bool  # the drain began it


@dataclass(frozen=True)
class Leaving:
    """A job that the node holds, or that is on its way there."""

    is_running: bool
    underway: Underway | None = None
    is_stop_refused: bool = False  # the last try failed a moment ago
    is_checkpoint_timed_out: bool = False  # the last try failed because no checkpoint came in time
    is_kill_ordered: bool = False


def wish(mode: DrainMode, deadline_utc: datetime | None, now: datetime) -> DrainMode:
    """What the drain wants at this moment: once its deadline has passed, what is left is stopped."""
    return DrainMode.STOP if deadline_utc is not None and now >= deadline_utc else mode


def next_for(wanted: DrainMode | None, job: Leaving) -> Do:
    """``wanted`` None: the node is in service (again)."""
    if job.underway is not None:
        return Do.CALL_BACK if _is_unwanted(wanted, job.underway) else Do.NOTHING
    if wanted is not DrainMode.STOP or not job.is_running or job.is_kill_ordered:
        return Do.NOTHING
    if job.is_checkpoint_timed_out:
        return Do.KILL
    return Do.NOTHING if job.is_stop_refused else Do.STOP


def _is_unwanted(wanted: DrainMode | None, underway: Underway) -> bool:
    """Nothing is called back after the point of no return, nor a move away that has stopped its job already."""
    if underway.is_arriving:
        return wanted is not None and underway.step in BEFORE_THE_LEASE_PASSES
    if underway.kind is MigrationKind.PAUSE:
        kept = wanted is DrainMode.STOP or not underway.is_of_drain
        return not kept and underway.step in BEFORE_THE_LEASE_PASSES
    if underway.kind is not MigrationKind.MOVE or underway.step not in BEFORE_THE_JOB_STOPS:
        return False
    return wanted is DrainMode.STOP or (underway.is_of_drain and wanted is not DrainMode.MIGRATE)
