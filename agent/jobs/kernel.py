"""The few Linux calls that Python does not offer, for the supervisor (standard library only)."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_TFD_TIMER_ABSTIME = 1

_libc = ctypes.CDLL(None, use_errno=True)


def boottime_s() -> float:
    """CLOCK_BOOTTIME, seconds since boot with suspend counted: the clock of leases."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def become_subreaper() -> None:
    """Make orphaned descendants children of this process, so that none escapes. Raises OSError."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)")


def die_with_parent() -> None:
    """Have the kernel SIGKILL this process when its parent dies; call it after any change of user. Raises OSError."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def limit_processes(count: int) -> None:
    """From here on no child may be made while its account has so many processes and threads; 0: no limit.

    The kernel counts all of an account's, other jobs' too, and nothing for root.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    if count and (hard == resource.RLIM_INFINITY or count < hard):
        resource.setrlimit(resource.RLIMIT_NPROC, (count, count))


class BootTimer:
    """A file descriptor that becomes readable at a point on CLOCK_BOOTTIME.

    A poll's own timeout stands still in suspend; this one has passed when the machine wakes, and fires at once.
    """

    def __init__(self) -> None:
        self.fd = _check(_libc.timerfd_create(time.CLOCK_BOOTTIME, os.O_NONBLOCK | os.O_CLOEXEC), "timerfd_create")

    def set(self, at_s: float | None) -> None:
        """Fire at ``at_s`` (a time already past: at once); None: never."""
        at_ns = 0 if at_s is None else max(1, int(at_s * 1e9))
        setting = struct.pack("@qqqq", 0, 0, at_ns // 1_000_000_000, at_ns % 1_000_000_000)
        _check(_libc.timerfd_settime(self.fd, _TFD_TIMER_ABSTIME, setting, None), "timerfd_settime")

    def clear(self) -> None:
        """Take note that it fired."""
        try:
            os.read(self.fd, 8)
        except BlockingIOError:
            return


def _check(result: int, call: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result
