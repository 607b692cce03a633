"""What is left to do in one pull, shared by its connections and decoders.

A unit is a distinct chunk (by digest), named by its first index; it may have several places. It goes
local -> done, or local -> pending -> asked for -> arrived -> done, and back to pending when its connection is cut.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from heliotrope.agent.checkpoints.manifest import Chunk, Entry, Manifest
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import HeliotropeError

from .connection import Received

_TICK_S = 0.25
_WATCH_S = 0.05


@dataclass(frozen=True)
class Arrived:
    """A frame to decode. ``cost_bytes`` goes back to the budget afterwards."""

    index: int
    base_index: int
    frame: Received
    cost_bytes: int


@dataclass
class Totals:
    """Bytes of state by how they came; ``wire_bytes`` both ways, framing included, TLS's own left out."""

    done_bytes: int = 0
    fetched_bytes: int = 0
    reused_bytes: int = 0
    resumed_bytes: int = 0
    delta_bytes: int = 0
    wire_bytes: int = 0
    cuts: int = 0


class Work:
    """The lists and counters; every method may be called from any thread."""

    def __init__(self, manifest: Manifest, clock: Clock, backlog_bytes: int) -> None:
        """``backlog_bytes``: frames that may wait for a decoder; more stay with the sender, whatever was asked for."""
        self.places: list[tuple[Entry, Chunk]] = manifest.places()
        self.totals = Totals()
        self.error: HeliotropeError | None = None
        self.progress_s = clock.monotonic_s()
        self._clock = clock
        # A condition for each who waits: waking everybody at every chunk took two thirds of the context switches.
        self._lock = threading.Lock()
        self._task = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._wanted = threading.Condition(self._lock)
        self._ended = threading.Condition(self._lock)
        self._local: deque[int] = deque()
        self._pending: deque[int] = deque()
        self._arrived: deque[Arrived] = deque()
        self._arrived_bytes = 0
        self._backlog_bytes = backlog_bytes
        self._twins: dict[int, list[int]] = {}
        first: dict[bytes, int] = {}
        for index, (_, chunk) in enumerate(self.places):
            self._twins.setdefault(first.setdefault(chunk.digest, index), []).append(index)
        self._left = len(self._twins)
        self._stopped = False

    @property
    def units(self) -> list[int]:
        """All units, in the order of the manifest."""
        return list(self._twins)

    @property
    def over(self) -> bool:
        """Nothing is left to do, or nothing more should be done."""
        return self._left == 0 or self._stopped

    def twins(self, unit: int) -> list[int]:
        """Every place of the unit's bytes."""
        return self._twins[unit]

    def try_locally(self, units: list[int]) -> None:
        """Queue units that this node may have already."""
        with self._lock:
            self._local.extend(units)
            self._task.notify_all()

    def fetch(self, units: list[int], *, first: bool = False) -> None:
        """Queue units for the connections; ``first`` for those that were asked for before a cut."""
        with self._lock:
            if first:
                self._pending.extendleft(reversed(units))
            else:
                self._pending.extend(units)
            self._wanted.notify_all()

    def claim(self, limit_bytes: int, limit_count: int) -> list[int]:
        """Units to ask for: up to so many bytes, at least one if any is pending."""
        claimed: list[int] = []
        size_bytes = 0
        with self._lock:
            while self._pending and len(claimed) < limit_count:
                size_bytes += self.places[self._pending[0]][1].size_bytes
                if claimed and size_bytes > limit_bytes:
                    break
                claimed.append(self._pending.popleft())
        return claimed

    def arrive(self, item: Arrived) -> None:
        """Hand a frame to the decoders; waits while they are far behind, so that memory does not follow the link."""
        with self._lock:
            while self._arrived_bytes >= self._backlog_bytes and not self._stopped:
                self._room.wait(_TICK_S)
            self._arrived.append(item)
            self._arrived_bytes += item.frame.data.nbytes
            self.progress_s = self._clock.monotonic_s()
            self._task.notify()

    def next_task(self) -> Arrived | int | None:
        """For a decoder: a frame, else a unit to try locally; None when all is over. Frames first: they hold memory."""
        with self._lock:
            while True:
                if self._stopped:
                    return None
                if self._arrived:
                    return self._take()
                if self._local:
                    return self._local.popleft()
                if self._left == 0:
                    return None
                self._task.wait(_TICK_S)

    def _take(self) -> Arrived:
        item = self._arrived.popleft()
        behind = self._arrived_bytes >= self._backlog_bytes
        self._arrived_bytes -= item.frame.data.nbytes
        if behind:
            self._room.notify_all()
        return item

    def wait(self) -> None:
        """For a receiver with nothing to ask for: until there may be something, or a tick passed."""
        with self._lock:
            if not self.over and not self._pending:
                self._wanted.wait(_TICK_S)

    def watch(self) -> None:
        """For the thread that looks after the others: until all is over, or a short time passed."""
        with self._lock:
            if not self.over:
                self._ended.wait(_WATCH_S)

    def _end(self) -> None:
        for waiting in (self._task, self._room, self._wanted, self._ended):
            waiting.notify_all()

    def done(self, unit: int, *, fetched: bool, resumed_bytes: int = 0, delta: bool = False) -> None:
        """The unit is at all its places."""
        size_bytes = self.places[unit][1].size_bytes
        all_bytes = size_bytes * len(self._twins[unit])
        with self._lock:
            totals = self.totals
            totals.done_bytes += all_bytes
            totals.resumed_bytes += resumed_bytes
            totals.reused_bytes += all_bytes - resumed_bytes - (size_bytes if fetched else 0)
            totals.fetched_bytes += size_bytes if fetched else 0
            totals.delta_bytes += size_bytes if delta else 0
            self._left -= 1
            if self._left == 0:
                self._end()

    def count_wire(self, size_bytes: int) -> None:
        """Add bytes that went over a connection."""
        with self._lock:
            self.totals.wire_bytes += size_bytes

    def count_cut(self) -> None:
        """A connection was lost."""
        with self._lock:
            self.totals.cuts += 1

    def stop(self, error: HeliotropeError | None = None) -> None:
        """End it; the first error stays."""
        with self._lock:
            self.error = self.error or error
            self._stopped = True
            self._end()
