"""Telling systemd how a daemon is doing: the sd_notify datagrams (see sd_notify(3)), without libsystemd."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from .errors import InvalidInput

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Sends states to the service manager; without one (``address`` empty) every call does nothing.

    No call raises: a daemon must not fall because its manager does not listen. Each returns whether it was sent.
    """

    def __init__(self, address: str = "", watchdog_interval_s: float | None = None) -> None:
        self.address = address
        self.watchdog_interval_s = watchdog_interval_s  # time to the kill; call watchdog() at half of it

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ, pid: int | None = None) -> Notifier:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and remove them so that jobs do not inherit them.

        Raises InvalidInput naming the variable, when it holds something that systemd would not write.
        """
        address, usec, watched_pid = (environment.pop(name, "") for name in _VARIABLES)
        if address and address[0] not in "/@":
            raise InvalidInput(f"field NOTIFY_SOCKET: {address!r} is no path and no abstract socket; unset it")
        own_pid = os.getpid() if pid is None else pid
        interval_s = None
        if usec and _number("WATCHDOG_PID", watched_pid or str(own_pid)) == own_pid:
            interval_s = _number("WATCHDOG_USEC", usec) / 1e6
        return cls(address, interval_s)

    def ready(self, status: str = "") -> bool:
        """Start-up is done (``Type=notify`` waits for this)."""
        return self._send("READY=1", *([_status(status)] if status else []))

    def status(self, text: str) -> bool:
        """One line for ``systemctl status``."""
        return self._send(_status(text))

    def watchdog(self) -> bool:
        """Still alive: to be called from the main loop, never from a thread of its own."""
        return self._send("WATCHDOG=1")

    def stopping(self, status: str = "") -> bool:
        """Shutting down in good order."""
        return self._send("STOPPING=1", *([_status(status)] if status else []))

    def _send(self, *assignments: str) -> bool:
        if not self.address:
            return False
        path = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as client:
                client.setblocking(False)  # a manager that hangs must not hang the main loop with it
                client.connect(path)
                client.send("\n".join(assignments).encode("utf-8"))
        except OSError:
            return False
        return True


def _status(text: str) -> str:
    """A line break inside would start another assignment."""
    return "STATUS=" + " ".join(text.split())


def _number(variable: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise InvalidInput(f"field {variable}: {text!r} is not a positive whole number; unset it")
    return int(text)
