"""A TCP proxy that cuts, flips and stalls what goes through it: a bad link on loopback."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress


class Proxy:
    """Forwards to ``target``. ``cuts``: each new connection takes one and is cut after that many bytes towards the
    dialler.

    ``tamper`` may change the bytes towards the dialler: (connection number, bytes so far, data) -> data.
    """

    def __init__(
        self,
        target: tuple[str, int],
        cuts: list[int] | None = None,
        tamper: Callable[[int, int, bytes], bytes] | None = None,
    ) -> None:
        self._target = target
        self._cuts = list(cuts or [])
        self._tamper = tamper
        self._stopped = False
        self.connection_count = 0
        self.passed_bytes = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def stop(self) -> None:
        self._stopped = True
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopped:
            if select.select([self._listener], [], [], 0.05)[0]:
                near, _ = self._listener.accept()
                cut = self._cuts.pop(0) if self._cuts else None
                self._threads.append(
                    threading.Thread(target=self._pump, args=(near, cut, self.connection_count), daemon=True)
                )
                self.connection_count += 1
                self._threads[-1].start()

    def _pump(self, near: socket.socket, cut: int | None, number: int) -> None:
        passed = 0
        with near, suppress(OSError), socket.create_connection(self._target) as far:
            while not self._stopped:
                for side in select.select([near, far], [], [], 0.05)[0]:
                    room = 65536 if cut is None or side is near else min(65536, cut - passed)
                    data = side.recv(room) if room else b""
                    if not data:
                        return
                    if side is far:
                        if self._tamper is not None:
                            data = self._tamper(number, passed, data)
                        passed += len(data)
                        self.passed_bytes += len(data)
                    (far if side is near else near).sendall(data)
