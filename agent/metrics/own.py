"""The agent itself: its spool, its session, its certificates, and what it costs."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

import psutil

from heliotrope.foundation.clock import Clock
from heliotrope.foundation.metrics import Samples
from heliotrope.foundation.ownfigures import OWN_MEMORY, pss_bytes

from ..power.batch import EnergyBatch
from ..session import Session
from ..spool import Gap, Spool, decode
from . import families as f

AGENT, HELPERS = "agent", "helpers"


class SpoolAge:
    """The age of the oldest waiting record, which is read from disk once for as long as it stays the oldest."""

    def __init__(self, spool: Spool, clock: Clock) -> None:
        self._spool = spool
        self._clock = clock
        self._sequence = 0
        self._written: EnergyBatch | Gap | None = None

    def seconds(self) -> float | None:
        """None when none waits, or when it does not say."""
        if self._spool.acknowledged >= self._spool.last_sequence:
            return None
        if self._written is None or self._sequence <= self._spool.acknowledged:
            found = self._spool.pending(1)
            if not found:
                return None
            self._sequence, self._written = found[0][0], decode(found[0][1])
        end_utc = self._written.end_utc
        return None if end_utc is None else max(0.0, (self._clock.utc() - end_utc).total_seconds())


def collect_spool(samples: Samples, spool: Spool, age: SpoolAge) -> None:
    samples.add(f.SPOOL_SIZE, spool.size_bytes)
    samples.add(f.SPOOL_QUOTA, spool.quota_bytes)
    samples.add(f.SPOOL_WAITING, spool.last_sequence - spool.acknowledged)
    samples.add(f.SPOOL_AGE, age.seconds())
    for reason, count in {"quota": 0, "disk full": 0, "damaged on disk": 0, **spool.lost_counts}.items():
        samples.add(f.SPOOL_LOST, count, reason)


def collect_session(samples: Samples, session: Session, clock: Clock) -> None:
    samples.add(f.SESSION, session.connected)
    if session.heard_s is not None:
        samples.add(f.SESSION_AGE, max(0.0, clock.monotonic_s() - session.heard_s))


def collect_cost(samples: Samples) -> None:
    """Processor time of helpers that ended counts on, so that it never falls."""
    times = os.times()
    samples.add(f.OWN_CPU, times.user + times.system, AGENT)
    samples.add(OWN_MEMORY, pss_bytes(os.getpid()), AGENT)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s, memory_bytes = ended.ru_utime + ended.ru_stime, 0
    for pid in descendants(os.getpid()):
        try:
            used = psutil.Process(pid).cpu_times()
        except psutil.Error:
            continue  # it ended meanwhile: the next scrape has it among the ended
        cpu_s += used.user + used.system
        memory_bytes += pss_bytes(pid) or 0
    samples.add(f.OWN_CPU, cpu_s, HELPERS)
    samples.add(OWN_MEMORY, memory_bytes, HELPERS)


def descendants(pid: int) -> list[int]:
    """Every process below one, by the kernel's own lists: looking for parents among all processes would cost more on a
    node with many. A kernel without these lists (CONFIG_PROC_CHILDREN) shows none.
    """
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that ended meanwhile
            for child in map(int, path.read_text(encoding="ascii").split()):
                found += [child, *descendants(child)]
    return found
