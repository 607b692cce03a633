"""The steps of a power cap's life, each written before it is done.

A lease is on disk as SETTING before its limit is set and as ENDING before the limit before is put back, and its file
goes when the event that ended it is on disk. So whoever looks next (this process, the stop step, the next agent) finds
every limit that may be ours, and ``ours_w`` tells it from somebody else's, which is never overwritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from heliotrope.foundation import failpoints
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Conflict, HeliotropeError, by_name
from heliotrope.foundation.model import PowerCap, PowerCapEvent, PowerCapEventKind

from .audit import Audit
from .driver import Driver
from .lease import Lease, Leases, Stage
from .limits import Item, Limit, is_among, same

failpoints.register(
    *(f"caps.set.{moment}" for moment in ("journalled", "applied", "recorded")),
    *(f"caps.restore.{moment}" for moment in ("journalled", "applied", "recorded")),
)

Kind = PowerCapEventKind
# What can happen to one cap more than once; the boot's time in its id tells the occasions apart.
_REPEATED = (Kind.SUSPENDED, Kind.REAPPLIED, Kind.STUCK)


def changed(lease: Lease, **fields: Any) -> Lease:
    """A copy with some fields changed."""
    return msgspec.structs.replace(lease, **fields)


class Steps:
    """Called by one thread at a time; every call of the driver may take its whole time limit."""

    def __init__(self, leases: Leases, audit: Audit, driver: Driver, clock: Clock, boot_id: str) -> None:
        self._leases = leases
        self._audit = audit
        self._driver = driver
        self._clock = clock
        self._boot_id = boot_id

    def set(self, leases: Sequence[Lease], found_w: Sequence[float]) -> tuple[PowerCap, ...]:
        """Set them all if the limits are still those that were found; else end them and raise why."""
        for lease in leases:
            self._leases.put(lease)
        failpoints.hit("caps.set.journalled")
        try:
            held = self._set(leases, found_w)
        except HeliotropeError as error:
            self.end(leases, f"it could not be set: {error}")
            raise
        failpoints.hit("caps.set.recorded")
        return tuple(lease.shown() for lease in held)

    def end(self, leases: Sequence[Lease], cause: str) -> tuple[PowerCap, ...]:
        """Put back the limits and forget the leases; one that cannot be stays, as ENDING with its problem.

        The answer has those that ended, with the limit as it is now.
        """
        ending = [changed(lease, stage=Stage.ENDING, cause=lease.cause or cause) for lease in leases]
        for lease in ending:
            self._leases.put(lease)
        return self._put_back(ending)

    def suspend(self, leases: Sequence[Lease], cause: str) -> None:
        """Put back the limits and keep the leases for the next agent."""
        for lease in leases:
            self._leases.put(changed(lease, stage=Stage.SUSPENDED))
        self._put_back([changed(lease, stage=Stage.SUSPENDED, cause=cause) for lease in leases])

    def reapply(self, lease: Lease) -> None:
        """Go on with a lease that an earlier agent left, whether its limit is still set or was put back."""
        # On disk before it is done: from here on that limit may be ours again.
        self._leases.put(changed(lease, ours_w=(*lease.ours_w, lease.requested_w)))
        item = Item(device=lease.device, set_w=lease.requested_w, expected_w=(*lease.ours_w, lease.previous_w))
        (answer,) = self._apply([item])
        if answer.fault is not None:
            self._stuck(lease, answer)
        elif answer.is_set:
            self.note(Kind.REAPPLIED, lease, answer, "the agent was started again, and goes on with it")
            self._hold(lease, answer)
        else:
            self._overtaken(lease, answer)

    def verify(self, leases: Sequence[Lease]) -> None:
        """Whether the limits are still ours, and what of them is obeyed."""
        for lease, answer in zip(leases, self._apply([Item(device=one.device) for one in leases]), strict=True):
            if answer.fault is not None:
                self._leases.put(changed(lease, problem=answer.fault.message))
            elif is_among(answer.found_w, lease.ours_w):
                self._leases.put(changed(lease, problem="", enforced_w=answer.enforced_w))
            else:
                self._overtaken(lease, answer)

    def note(self, kind: PowerCapEventKind, lease: Lease, answer: Limit, message: str) -> None:
        """An event of this lease's, durable on return."""
        moment = f".{self._clock.boottime_s():.3f}" if kind in _REPEATED else ""
        now: datetime = self._clock.utc()
        self._audit.add(
            PowerCapEvent(
                event_id=f"{lease.cap_id}.{kind.lower()}{moment}.{lease.device}",
                cap_id=lease.cap_id,
                device=lease.device,
                kind=kind,
                utc=now,
                requested_w=lease.requested_w,
                found_w=answer.found_w,
                limit_w=answer.limit_w,
                enforced_w=answer.enforced_w,
                expires_utc=lease.expires_utc,
                operator=lease.operator,
                message=message,
            )
        )

    def _set(self, leases: Sequence[Lease], found_w: Sequence[float]) -> list[Lease]:
        items = [
            Item(device=lease.device, set_w=lease.requested_w, expected_w=(expected_w,))
            for lease, expected_w in zip(leases, found_w, strict=True)
        ]
        answers = self._driver.apply(items)
        failpoints.hit("caps.set.applied")
        for answer in answers:
            if answer.fault is not None:
                raise by_name(answer.fault.kind)(answer.fault.message)
            if not answer.is_set:
                raise Conflict(
                    f"cannot set the power limit of {answer.device}: somebody else set it to {answer.found_w:g} W at "
                    "this moment; try again"
                )
        return [self._hold(lease, answer) for lease, answer in zip(leases, answers, strict=True)]

    def _hold(self, lease: Lease, answer: Limit) -> Lease:
        """What was read back is now what tells ours from another's."""
        ours_w = (answer.limit_w,) if answer.limit_w is not None else lease.ours_w
        limits = {"ours_w": ours_w, "limit_w": answer.limit_w, "enforced_w": answer.enforced_w}
        held = changed(lease, stage=Stage.HELD, problem="", **limits)
        self._leases.put(held)
        return held

    def _put_back(self, leases: Sequence[Lease]) -> tuple[PowerCap, ...]:
        ended = [self._gone(lease) for lease in leases if lease.boot_id != self._boot_id]
        here = [lease for lease in leases if lease.boot_id == self._boot_id]
        if here:
            failpoints.hit("caps.restore.journalled")
        answers = self._apply([Item(device=one.device, set_w=one.previous_w, expected_w=one.ours_w) for one in here])
        if here:
            failpoints.hit("caps.restore.applied")
        for lease, answer in zip(here, answers, strict=True):
            if answer.fault is not None:
                self._stuck(lease, answer)
            elif lease.stage is Stage.SUSPENDED:
                self._suspended(lease, answer)
            else:
                ended.append(self._ended(lease, answer))
        return tuple(ended)

    def _apply(self, items: Sequence[Item]) -> tuple[Limit, ...]:
        """As the driver's own, but what keeps all of them from being done is the fault of each."""
        if not items:
            return ()
        try:
            return self._driver.apply(items)
        except HeliotropeError as error:
            fault = {"kind": type(error).__name__, "message": str(error)}
            return tuple(msgspec.convert({"device": item.device, "fault": fault}, Limit) for item in items)

    def _ended(self, lease: Lease, answer: Limit) -> PowerCap:
        if answer.is_set:
            self.note(Kind.RESTORED, lease, answer, f"{lease.cause}; the limit before is back")
        elif same(answer.found_w, lease.previous_w):
            self.note(Kind.RESTORED, lease, answer, f"{lease.cause}; the limit before was back already")
        else:
            self.note(Kind.OVERTAKEN, lease, answer, f"{lease.cause}; somebody else's limit was left alone")
        return self._forgotten(lease, answer)

    def _suspended(self, lease: Lease, answer: Limit) -> None:
        if not (answer.is_set or same(answer.found_w, lease.previous_w)):
            self._ended(lease, answer)
            return
        if answer.is_set:
            self.note(Kind.SUSPENDED, lease, answer, f"{lease.cause}; the next agent sets it again")
        self._leases.put(changed(lease, cause="", problem="", limit_w=answer.limit_w, enforced_w=answer.enforced_w))

    def _overtaken(self, lease: Lease, answer: Limit) -> None:
        is_back = same(answer.found_w, lease.previous_w)
        whose = "the limit before is back, by a reset or by somebody" if is_back else "somebody else's limit is set"
        self.note(Kind.OVERTAKEN, lease, answer, f"it is no longer in force: {whose}")
        self._forgotten(lease, answer)

    def _gone(self, lease: Lease) -> PowerCap:
        answer = Limit(device=lease.device)
        self.note(Kind.GONE, lease, answer, "the node was booted anew, which resets limits")
        return self._forgotten(lease, answer)

    def _forgotten(self, lease: Lease, answer: Limit) -> PowerCap:
        failpoints.hit("caps.restore.recorded")
        self._leases.remove(lease.device)
        return changed(lease, limit_w=answer.limit_w, enforced_w=answer.enforced_w).shown()

    def _stuck(self, lease: Lease, answer: Limit) -> None:
        problem = answer.fault.message if answer.fault is not None else "no answer"
        if not lease.problem:
            self.note(Kind.STUCK, lease, answer, f"{problem}; it is tried again")
        self._leases.put(changed(lease, problem=problem))
