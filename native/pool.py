"""Worker threads for batches: made once, kept, and shared by every call. The work runs without the GIL."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

SHARES_PER_THREAD = 4  # more shares than threads, so that an easy share does not leave its thread idle

_lock = threading.Lock()
_pools: dict[int, ThreadPoolExecutor] = {}


def cut(sizes_bytes: Sequence[int], threads: int) -> list[slice]:
    """Neighbouring items in shares of about equal bytes; one share for one thread. Raises ValueError for no threads."""
    if threads < 1:
        raise ValueError(f"cannot code a batch: threads is {threads}; give 1 or more")
    if threads == 1 or len(sizes_bytes) < 2:
        return [slice(0, len(sizes_bytes))]
    share_bytes = max(1, sum(sizes_bytes) // (threads * SHARES_PER_THREAD))
    shares, begin, held_bytes = [], 0, 0
    for end, size_bytes in enumerate(sizes_bytes, start=1):
        held_bytes += size_bytes
        if held_bytes >= share_bytes or end == len(sizes_bytes):
            shares.append(slice(begin, end))
            begin, held_bytes = end, 0
    return shares


def run(work: Callable[[slice], Result], shares: Sequence[slice], threads: int) -> list[Result]:
    """The results in order. An error in any share is raised when all of them have ended."""
    if len(shares) == 1:
        return [work(shares[0])]
    futures = [_pool(threads).submit(work, share) for share in shares]
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        raise errors[0]
    return [future.result() for future in futures]


def _pool(threads: int) -> ThreadPoolExecutor:
    with _lock:
        if threads not in _pools:
            _pools[threads] = ThreadPoolExecutor(threads, thread_name_prefix=f"heliotrope-codec-{threads}")
        return _pools[threads]


def _forget() -> None:
    """A forked child has none of its parent's threads."""
    global _lock  # noqa: PLW0603 (another thread may have held it at the fork)
    _lock = threading.Lock()
    _pools.clear()


os.register_at_fork(after_in_child=_forget)
