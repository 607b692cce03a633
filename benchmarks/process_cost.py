"""What a group of processes costs: processor time to the nanosecond, resident, proportional and unique memory."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

Processes = Callable[[], list[psutil.Process]]

_CPUCLOCK_SCHED = 2  # linux/posix-timers_types.h: a process's clock is its inverted id in the upper bits


def cpu_s(pid: int) -> float:
    """Processor time of all threads of a process, ended ones included. Raises OSError when it is gone."""
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)


def tree(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_ratios(processes: Processes, *, window_s: float, runs: int) -> Iterator[float]:
    """Share of one core in ``runs`` windows on end. Processes that come and go in a window are not seen."""
    for _ in range(runs):
        before = {process.pid: spent for process in processes() if (spent := _spent(process.pid)) is not None}
        begun_s = time.monotonic()
        time.sleep(window_s)
        span_s = time.monotonic() - begun_s
        used_s = sum(after - before[pid] for pid in before if (after := _spent(pid)) is not None)
        yield used_s / span_s


def memory_bytes(processes: Processes) -> dict[str, int]:
    """``rss``, ``pss`` (pages shared with others divided among them) and ``uss`` (not shared with anybody)."""
    found = {"rss": 0, "pss": 0, "uss": 0}
    for process in processes():
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
                name, _, rest = line.partition(":")
                key = {"Rss": "rss", "Pss": "pss", "Private_Clean": "uss", "Private_Dirty": "uss"}.get(name)
                if key is not None:
                    found[key] += int(rest.split()[0]) * 1024
    return found


def _spent(pid: int) -> float | None:
    try:
        return cpu_s(pid)
    except OSError:
        return None
