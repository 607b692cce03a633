"""Keeps a node's power caps: what operators order, what time brings, what crashes left (docs/power-caps.md)."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

from heliotrope.foundation.clock import Clock, boot_id
from heliotrope.foundation.errors import Conflict, InvalidInput, Unreachable
from heliotrope.foundation.model import PowerCap, PowerCapEventKind, Record

from .audit import Audit
from .driver import Driver
from .lease import Lease, Leases, Stage
from .limits import Limit, is_among, same
from .steps import Steps, changed

VERIFY_S = 60.0  # how often it is looked whether a limit is still ours
RETRY_S = 15.0  # and how often what failed is tried again
_SLEEP_LIMIT_S = 30.0  # a lease's clock goes on while the machine sleeps, the loop's does not


class Wanted(Record):
    """A cap as ordered. ``device`` "" is every GPU; ``lifetime_s`` counts from now."""

    cap_id: str
    device: str
    limit_w: float
    lifetime_s: float
    operator: str = ""
    message: str = ""


class Keeper:
    """Any thread may call; calls that ask the driver take turns and may take a while."""

    def __init__(self, folder: Path, driver: Driver, clock: Clock, *, boot: str = "") -> None:
        """``folder``: the leases' and events' own. ``boot``: another boot id than this one's only in tests."""
        self._driver = driver
        self._clock = clock
        self._boot_id = boot or boot_id()
        self._leases = Leases(folder / "leases")
        self.audit = Audit(folder / "events")
        self._steps = Steps(self._leases, self.audit, driver, clock, self._boot_id)
        self._turn = threading.Lock()
        self._verified_s = self._tried_s = clock.monotonic_s()
        self._is_closed = False  # the limits are back for good; an order that waited for its turn came too late

    def active(self) -> tuple[PowerCap, ...]:
        """What is in force, or should be; asks nobody."""
        return tuple(lease.shown() for lease in self._leases.all())

    def cap(self, wanted: Wanted) -> tuple[PowerCap, ...]:
        """Set it on every device it names, or on none.

        Raises InvalidInput naming the range, NotFound, Conflict, and the driver's errors.
        """
        if wanted.lifetime_s <= 0:
            raise Conflict(f"cannot set power cap {wanted.cap_id}: its time was over before it reached the node")
        with self._turn:
            if self._is_closed:
                raise Unreachable(
                    f"cannot set power cap {wanted.cap_id}: the agent is stopping; the next one is asked again"
                )
            found = self._driver.read(*([wanted.device] if wanted.device else []))
            for limit in found:
                _check_range(limit, wanted.limit_w)
            leases = [self._plan(wanted, limit) for limit in found]
            return self._steps.set(leases, [limit.found_w or 0.0 for limit in found])

    def release(self, device: str, cause: str) -> tuple[PowerCap, ...]:
        """End the caps of a device ("": all); those that were, with the limits as they are now.

        Raises Unreachable when one cannot be ended now; it is tried again.
        """
        with self._turn:
            ended = self._steps.end([one for one in self._leases.all() if device in ("", one.device)], cause)
            left = [one for one in self._leases.all() if device in ("", one.device)]
            if left:
                raise Unreachable(f"{left[0].problem}; the agent tries again to put the limit back")
            return ended

    def adopt(self) -> None:
        """At the agent's start: go on with what has time left, put back the rest."""
        with self._turn:
            for lease in self._leases.all():
                if lease.stage is Stage.HELD:
                    self._leases.put(changed(lease, stage=Stage.SUSPENDED))
                elif lease.stage is Stage.SETTING:
                    self._leases.put(changed(lease, stage=Stage.ENDING, cause="the agent died while setting it"))
        self.ensure()

    def ensure(self) -> None:
        """Bring every lease to where it should be now; what fails is tried again later."""
        with self._turn:
            if self._is_closed:
                return
            self._tried_s = self._clock.monotonic_s()
            self._steps.end([one for one in self._leases.all() if self._is_over(one)], "its time was over")
            for lease in self._leases.all():
                if lease.stage is Stage.SUSPENDED:
                    self._steps.reapply(lease)
            if self._tried_s - self._verified_s >= VERIFY_S:
                self._verified_s = self._tried_s
                self._steps.verify([one for one in self._leases.all() if one.stage is Stage.HELD])

    def restore(self, cause: str, *, goes_on: bool) -> tuple[str, ...]:
        """Put every limit back; what could not be, as texts. ``goes_on``: the next agent may set them again.

        The last call: no cap is set after it.
        """
        with self._turn:
            self._is_closed = True
            leases = self._leases.all()
            kept = [one for one in leases if goes_on and one.stage in (Stage.HELD, Stage.SUSPENDED)]
            self._steps.end([one for one in leases if one not in kept], cause)
            self._steps.suspend(kept, cause)
            return tuple(lease.problem for lease in self._leases.all() if lease.problem)

    def wait_s(self) -> float:
        """Seconds until :meth:`ensure` is due."""
        leases = self._leases.all()
        now_s, boot_s = self._clock.monotonic_s(), self._clock.boottime_s()
        due_s = [_SLEEP_LIMIT_S]
        due_s += [one.expires_boottime_s - boot_s for one in leases if one.stage is Stage.HELD]
        due_s += [self._tried_s + RETRY_S - now_s for one in leases if one.stage is not Stage.HELD]
        due_s += [self._verified_s + VERIFY_S - now_s for _ in leases]
        return max(0.05, min(due_s))

    def _is_over(self, lease: Lease) -> bool:
        """Also what has begun to end and did not get there."""
        is_late = lease.expires_boottime_s <= self._clock.boottime_s()
        return is_late or lease.boot_id != self._boot_id or lease.stage in (Stage.SETTING, Stage.ENDING)

    def _plan(self, wanted: Wanted, found: Limit) -> Lease:
        """The lease to write. What an older one of the device would have put back is still to be put back."""
        old = self._leases.find(found.device)
        found_w = found.found_w or 0.0
        previous_w = found_w
        ours_w: tuple[float, ...] = (wanted.limit_w,)
        if old is not None and is_among(found_w, old.ours_w):
            previous_w, ours_w = old.previous_w, (*old.ours_w, wanted.limit_w)
        elif old is not None and not same(found_w, old.previous_w):
            self._steps.note(PowerCapEventKind.OVERTAKEN, old, found, "another limit was set; a new cap begins from it")
        now = self._clock.utc()
        return Lease(
            cap_id=wanted.cap_id,
            device=found.device,
            requested_w=wanted.limit_w,
            previous_w=previous_w,
            ours_w=ours_w,
            boot_id=self._boot_id,
            expires_boottime_s=self._clock.boottime_s() + wanted.lifetime_s,
            expires_utc=now + timedelta(seconds=wanted.lifetime_s),
            set_utc=now,
            operator=wanted.operator,
            message=wanted.message,
        )


def caps_folder(state_dir: Path) -> Path:
    """Where an agent with that state keeps its leases, events and lock; made where it is missing."""
    folder = state_dir / "power-caps"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _check_range(limit: Limit, wanted_w: float) -> None:
    if not limit.lowest_w <= wanted_w <= limit.highest_w:
        raise InvalidInput(
            f"field limit_w: {wanted_w:g} W is outside of what {limit.device} takes; choose from {limit.lowest_w:g} to "
            f"{limit.highest_w:g} W"
        )
