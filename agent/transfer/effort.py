"""How hard to code: as hard as the link leaves time for, as measured while running.

Once a second two shares are compared: of the time in which coders could have worked, how much they did; of the
connections' time, how much they were inside a send. A link that is always full with idle coders gets the better
code; coders that are always busy before an idle link get the cheaper one. Each change of direction doubles the time
until the next: no flapping.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from heliotrope.foundation.clock import Clock

LEAST, USUAL, MOST = 0, 1, 3
_WINDOW_S = 1.0
_BUSY_RATIO = 0.85
_IDLE_RATIO = 0.4
_DWELL_LIMIT_S = 60.0


class Effort:
    """The coding level shared by a server's connections; ``fixed`` switches the measuring off."""

    def __init__(self, clock: Clock, *, coder_count: int, fixed: int | None = None) -> None:
        self._clock = clock
        self._coder_count = coder_count
        self._fixed = fixed
        self._lock = threading.Lock()
        self._level = USUAL
        self._direction = 0
        self._dwell_s = _WINDOW_S
        self._changed_s = self._since_s = clock.monotonic_s()
        self._coding_s = self._sending_s = 0.0
        self._senders: set[int] = set()

    @property
    def level(self) -> int:
        """The ``effort`` that the next batch is coded with."""
        return self._level if self._fixed is None else self._fixed

    @contextlib.contextmanager
    def coding(self) -> Iterator[int]:
        """Around a batch's coding; gives its level."""
        start_s = self._clock.monotonic_s()
        yield self.level
        with self._lock:
            self._coding_s += self._clock.monotonic_s() - start_s

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Around a frame's sending."""
        start_s = self._clock.monotonic_s()
        yield
        now_s = self._clock.monotonic_s()
        with self._lock:
            self._senders.add(threading.get_ident())
            self._sending_s += now_s - start_s
            if now_s - self._since_s >= _WINDOW_S:
                self._judge(now_s)

    def _judge(self, now_s: float) -> None:
        window_s = now_s - self._since_s
        coder_ratio = self._coding_s / (window_s * self._coder_count)
        link_ratio = self._sending_s / (window_s * len(self._senders))
        if link_ratio > _BUSY_RATIO and coder_ratio < _IDLE_RATIO:
            self._move(1, now_s)
        elif coder_ratio > _BUSY_RATIO and link_ratio < _IDLE_RATIO:
            self._move(-1, now_s)
        self._since_s, self._coding_s, self._sending_s = now_s, 0.0, 0.0
        self._senders.clear()

    def _move(self, direction: int, now_s: float) -> None:
        if now_s - self._changed_s < self._dwell_s or not LEAST <= self._level + direction <= MOST:
            return
        if direction != self._direction and self._direction:
            self._dwell_s = min(2 * self._dwell_s, _DWELL_LIMIT_S)
        self._level += direction
        self._direction = direction
        self._changed_s = now_s
