"""Connections that are made while the first one still fetches the manifest: on a long link that is half the start."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import HeliotropeError

from .connection import Connection

# Nobody has greeted over them yet: the far end hangs up on strangers after its handshake time.
_STALE_S = 5.0


class Ahead:
    """Makes them in threads of their own; whoever takes one uses it or closes it. Safe to use from several threads."""

    def __init__(self, connect: Callable[[], Connection], clock: Clock) -> None:
        self._connect = connect
        self._clock = clock
        self._made: queue.SimpleQueue[tuple[Connection | None, float]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._started = False
        self._coming = 0
        self._threads: list[threading.Thread] = []

    def start(self, count: int) -> None:
        """Make so many, once."""
        with self._lock:  # the threads' own connections tell the round trip time, too
            if self._started:
                return
            self._started = True
        for _ in range(count):
            thread = threading.Thread(target=self._make, name="transfer-dial", daemon=True)
            thread.start()
            self._threads.append(thread)
            with self._lock:
                self._coming += 1

    def take(self) -> Connection | None:
        """The next one, waited for; None when none is left, or what was made is of no use: then dial."""
        while True:
            with self._lock:
                if not self._coming:
                    return None
                self._coming -= 1
            connection, made_s = self._made.get()
            if connection is None:
                return None
            if self._clock.monotonic_s() - made_s <= _STALE_S:
                return connection
            connection.close()

    def close(self) -> None:
        """Close what nobody took; returns when all threads have ended."""
        for thread in self._threads:
            thread.join()
        while not self._made.empty():
            connection, _ = self._made.get()
            if connection is not None:
                connection.close()

    def _make(self) -> None:
        connection = None
        try:
            connection = self._connect()
        except HeliotropeError:
            pass  # whoever dials next hears why
        finally:
            self._made.put((connection, self._clock.monotonic_s()))
