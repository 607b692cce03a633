"""The lease as the supervisor keeps it: on CLOCK_BOOTTIME, and ended before it ends (standard library only)."""

from __future__ import annotations

from collections.abc import Callable

from .kernel import boottime_s
from .loop import Loop

_MARGIN_S = 1.0  # every process is gone this long before the lease ends: killing takes a moment


class Lease:
    """Calls ``expire`` early enough that the job has its grace and is gone before the deadline."""

    def __init__(self, loop: Loop, grace_s: float, expire: Callable[[], None]) -> None:
        self.deadline_s: float | None = None
        self.grace_s = grace_s  # as far as this lease leaves room for it
        self._wanted_grace_s = grace_s
        self._loop = loop
        self._expire = expire

    def renew(self, deadline_s: float | None) -> None:
        """Take a new deadline (CLOCK_BOOTTIME, seconds); None: run on without one.

        A short lease gives a quarter of what remains to the grace and a tenth to the margin, so that the job has
        the larger part of it.
        """
        self.deadline_s = deadline_s
        if deadline_s is None:
            self._loop.cancel("lease")
            return
        remaining_s = max(0.0, deadline_s - boottime_s())
        margin_s = min(_MARGIN_S, remaining_s / 10)
        self.grace_s = min(self._wanted_grace_s, remaining_s / 4)
        self._loop.at("lease", deadline_s - margin_s - self.grace_s, lambda: self._on_due(deadline_s - margin_s))

    def _on_due(self, kill_at_s: float) -> None:
        self.grace_s = max(0.0, kill_at_s - boottime_s())  # less than planned if the machine slept over it
        self._expire()
