"""What bounds a transfer: bytes in memory, bytes per second, and buffers that are used again."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable

from heliotrope.foundation.clock import Clock

Memory = bytearray | mmap.mmap
Stop = Callable[[], bool]
Rate = float | Callable[[], float | None] | None
"""Bytes per second: a number, None for no limit, or a function that is asked each time (a time-of-day schedule)."""

_TICK_S = 0.25


class Budget:
    """So many bytes may be held at once; who wants more waits until others let go."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._free_bytes = size_bytes
        self._changed = threading.Condition()

    def take(self, size_bytes: int, stop: Stop) -> bool:
        """Wait for the bytes; False if ``stop`` came first. More than the whole budget is given when nothing else is
        held.
        """
        with self._changed:
            while not self._fits(size_bytes):
                if stop():
                    return False
                self._changed.wait(_TICK_S)
            self._free_bytes -= size_bytes
            return True

    def try_take(self, size_bytes: int) -> bool:
        """The bytes at once or not at all."""
        with self._changed:
            if not self._fits(size_bytes):
                return False
            self._free_bytes -= size_bytes
            return True

    def give(self, size_bytes: int) -> None:
        """Let go of bytes taken before."""
        with self._changed:
            self._free_bytes += size_bytes
            self._changed.notify_all()

    def _fits(self, size_bytes: int) -> bool:
        return size_bytes <= self._free_bytes or self._free_bytes == self.size_bytes


class Limiter:
    """Token bucket over all connections of one transfer; a tenth of a second may be spent at once.

    ``shared``: a wider one that counts the same bytes.
    """

    def __init__(self, rate: Rate, clock: Clock, shared: Limiter | None = None) -> None:
        self._rate = rate
        self._clock = clock
        self._shared = shared
        self._lock = threading.Lock()
        self._debt_until_s = 0.0

    def spend(self, size_bytes: int, sleep: Callable[[float], object]) -> None:
        """Account for bytes that were moved and ``sleep`` as long as they put us ahead of the rate."""
        if self._shared is not None:
            self._shared.spend(size_bytes, sleep)
        rate = self._rate() if callable(self._rate) else self._rate
        if rate is None or rate <= 0:
            return
        with self._lock:
            now_s = self._clock.monotonic_s()
            self._debt_until_s = max(self._debt_until_s, now_s - 0.1) + size_bytes / rate
            wait_s = self._debt_until_s - now_s
        if wait_s > 0:
            sleep(wait_s)


class Buffers:
    """Large buffers used again: a fresh one of 4 MiB costs a millisecond in page faults, as much as decoding into
    it. They are mapped, not allocated, so that one that is let go is the system's again at once: the allocator kept
    gaps between them, more with every pull.
    """

    SMALL_BYTES = 64 << 10
    FREE_BYTES = 32 << 20  # kept; more was in use for a moment only

    def __init__(self) -> None:
        self._free: list[Memory] = []
        self.free_bytes = 0
        self._lock = threading.Lock()

    def take(self, size_bytes: int) -> tuple[Memory, memoryview]:
        """(buffer to give back, view of exactly ``size_bytes`` of it)."""
        if size_bytes <= self.SMALL_BYTES:
            small = bytearray(size_bytes)
            return small, memoryview(small)
        with self._lock:
            for position in range(len(self._free) - 1, -1, -1):
                if size_bytes <= len(self._free[position]) <= 4 * size_bytes:
                    buffer = self._free.pop(position)
                    self.free_bytes -= len(buffer)
                    return buffer, memoryview(buffer)[:size_bytes]
        step_bytes = 1 << (size_bytes.bit_length() - 3)  # sizes alike, so that one serves the next chunk, too
        length = -(-size_bytes // step_bytes) * step_bytes
        buffer = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        return buffer, memoryview(buffer)[:size_bytes]

    def give(self, buffer: Memory) -> None:
        """Take a buffer back; no view of it may be used any more."""
        if len(buffer) <= self.SMALL_BYTES:
            return
        with self._lock:
            self._free.append(buffer)
            self.free_bytes += len(buffer)
            while self.free_bytes > self.FREE_BYTES:
                self.free_bytes -= len(self._free.pop(0))

    def clear(self) -> None:
        """Let go of what is kept, at the end: whoever holds this object may live until the collector comes by."""
        with self._lock:
            self._free.clear()
            self.free_bytes = 0
