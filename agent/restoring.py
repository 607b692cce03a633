"""What an agent that runs no more has changed on the hardware, put back: the stop step of its service.

It needs no configuration, no coordinator and no certificate, so that nothing which stopped the agent can stop it.
"""

from __future__ import annotations

from pathlib import Path

from heliotrope.foundation import failpoints
from heliotrope.foundation.clock import SystemClock
from heliotrope.foundation.model import PowerCapEvent, Record

from .only_one import only_one
from .power.caps.driver import Driver
from .power.caps.keeper import Keeper, caps_folder


class Restored(Record):
    """What was put back (events that the next agent reports), and what could not be."""

    events: tuple[PowerCapEvent, ...] = ()
    problems: tuple[str, ...] = ()


def restore_power_limits(state_dir: Path, *, sys_root: str, cause: str, goes_on: bool) -> Restored:
    """Again: nothing. ``goes_on``: caps with time left wait for the next agent. Raises Conflict while one runs."""
    failpoints.arm()
    with only_one(state_dir):
        folder = caps_folder(state_dir)
        keeper = Keeper(folder, Driver(folder, sys_root), SystemClock())
        known = {event.event_id for event in keeper.audit.waiting()}
        problems = keeper.restore(cause, goes_on=goes_on)
        events = tuple(event for event in keeper.audit.waiting() if event.event_id not in known)
        return Restored(events=events, problems=problems)
