"""The supervisor's one visible loop: file descriptors and points in time on CLOCK_BOOTTIME, one thread."""

from __future__ import annotations

import select
from collections.abc import Callable

from .kernel import BootTimer, boottime_s


class Loop:
    """Calls back when a descriptor is readable or a named point in time has come."""

    def __init__(self) -> None:
        self._poller = select.epoll()
        self._timer = BootTimer()
        self._watched: dict[int, Callable[[], None]] = {}
        self._due: dict[str, tuple[float, Callable[[], None]]] = {}
        self._stopped = False
        self._poller.register(self._timer.fd, select.EPOLLIN)

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever ``fd`` is readable or hung up."""
        self._watched[fd] = callback
        self._poller.register(fd, select.EPOLLIN)

    def forget(self, fd: int) -> None:
        """Stop watching; do it before closing the descriptor."""
        if self._watched.pop(fd, None) is not None:
            self._poller.unregister(fd)

    def at(self, name: str, at_s: float, callback: Callable[[], None]) -> None:
        """Call ``callback`` once at that point on CLOCK_BOOTTIME; a second call under the same name replaces it."""
        self._due[name] = (at_s, callback)

    def cancel(self, name: str) -> None:
        """Drop a point in time, if it is still ahead."""
        self._due.pop(name, None)

    def is_set(self, name: str) -> bool:
        """Whether that point is still ahead."""
        return name in self._due

    def stop(self) -> None:
        """Let :meth:`run` return after the current callback."""
        self._stopped = True

    def run(self) -> None:
        """Serve until :meth:`stop`."""
        while not self._stopped:
            self._timer.set(min((at_s for at_s, _ in self._due.values()), default=None))
            for fd, _ in self._poller.poll():
                if fd == self._timer.fd:
                    self._timer.clear()
                elif fd in self._watched and not self._stopped:
                    self._watched[fd]()
            self._call_due()

    def _call_due(self) -> None:
        now_s = boottime_s()
        for name, (at_s, callback) in sorted(self._due.items(), key=lambda item: item[1][0]):
            # a callback before this one may have moved or cancelled it
            if at_s <= now_s and self._due.get(name) == (at_s, callback) and not self._stopped:
                del self._due[name]
                callback()
