"""What this node received, for its metrics: totals since the start, and how far each pull is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from .result import Progress, PullResult


@dataclass
class Pulling:
    """One pull, told of by the transfer's threads."""

    job_id: str
    progress: Progress | None = None
    result: PullResult | None = None
    _earlier_bytes: int = 0  # on the wire, of attempts over other addresses

    def advance(self, progress: Progress) -> None:
        """An attempt over another address counts from 0 again: its predecessor's bytes were sent all the same."""
        if self.progress is not None and progress.wire_bytes < self.progress.wire_bytes:
            self._earlier_bytes += self.progress.wire_bytes
        self.progress = progress

    @property
    def wire_bytes(self) -> int:
        seen_bytes = self.progress.wire_bytes if self.progress else 0
        return self._earlier_bytes + max(seen_bytes, self.result.wire_bytes if self.result else 0)


@dataclass(frozen=True)
class Totals:
    """Since the start. ``wire_bytes`` of failed pulls and those under way too; the rest of those that came to their
    end, whose state bytes are fetched, reused (they were here) and resumed (of a cut pull) ones.
    """

    wire_bytes: int = 0
    fetched_bytes: int = 0
    reused_bytes: int = 0
    resumed_bytes: int = 0
    network_s: float = 0.0
    done_count: int = 0
    failed_count: int = 0


@dataclass
class Traffic:
    """Thread-safe."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: list[Pulling] = field(default_factory=list)
    _ended: Totals = field(default_factory=Totals)

    @contextmanager
    def pull(self, job_id: str) -> Iterator[Pulling]:
        """Around one pull; without a result at its end it has failed, and what it fetched still counts."""
        pulling = Pulling(job_id)
        with self._lock:
            self._open.append(pulling)
        try:
            yield pulling
        finally:
            with self._lock:
                self._open.remove(pulling)
                self._ended = _with(self._ended, pulling)

    def pulling(self) -> list[Pulling]:
        """Those under way."""
        with self._lock:
            return list(self._open)

    def totals(self) -> Totals:
        with self._lock:
            wire_bytes = self._ended.wire_bytes + sum(one.wire_bytes for one in self._open)
            return replace(self._ended, wire_bytes=wire_bytes)


def _with(ended: Totals, pulling: Pulling) -> Totals:
    ended = replace(ended, wire_bytes=ended.wire_bytes + pulling.wire_bytes)
    result = pulling.result
    if result is None:
        return replace(ended, failed_count=ended.failed_count + 1)
    return replace(
        ended,
        fetched_bytes=ended.fetched_bytes + result.fetched_bytes,
        reused_bytes=ended.reused_bytes + result.reused_bytes,
        resumed_bytes=ended.resumed_bytes + result.resumed_bytes,
        network_s=ended.network_s + result.network_s,
        done_count=ended.done_count + 1,
    )
