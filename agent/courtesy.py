"""Replicas give way: one of their transfers at a time, none beside a move's, and none beside other orders of its job.

A transfer of a replica has hours; a move has a job that stands. What was fetched stays, so giving way costs the chunks
in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from heliotrope.foundation.errors import Conflict

T = TypeVar("T")


class Courtesy:
    """Orders of one node; used by its event loop alone."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()  # of replicas among themselves
        self._moves = 0
        self._no_moves = asyncio.Event()
        self._no_moves.set()
        self._firsts: dict[str, int] = {}  # by job: orders that go before its replica
        self._waiting: dict[str, set[asyncio.Task[object]]] = {}  # by job: replicas that wait or run
        self._running: asyncio.Task[object] | None = None

    @asynccontextmanager
    async def first(self, job_id: str, *, transfers: bool) -> AsyncIterator[None]:
        """Everything but replicas: entered when nothing of a replica is in the way. ``transfers``: uses the link."""
        self._firsts[job_id] = self._firsts.get(job_id, 0) + 1
        self._moves += transfers
        try:
            in_the_way = set(self._waiting.get(job_id, ()))
            if transfers:
                self._no_moves.clear()
                in_the_way |= {self._running} if self._running is not None else set()
            for task in in_the_way:
                task.cancel()
            await asyncio.gather(*in_the_way, return_exceptions=True)
            yield
        finally:
            self._moves -= transfers
            self._firsts[job_id] -= 1
            if not self._firsts[job_id]:
                del self._firsts[job_id]
            if not self._moves:
                self._no_moves.set()

    async def replica(self, job_id: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do ``work``, from the beginning whenever it gave way to a transfer. Raises Conflict when it gave way to
        another order of its own job: whether it is still wanted then is the coordinator's to say.
        """
        while True:
            if job_id in self._firsts:
                raise _gave_way(job_id)
            task = asyncio.ensure_future(self._when_free(work))
            self._waiting.setdefault(job_id, set()).add(task)
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                if not task.cancelled():  # this order itself was cancelled: the agent stops, or it took too long
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                    raise
                if job_id in self._firsts:
                    raise _gave_way(job_id) from None
            finally:
                self._forget(job_id, task)

    async def _when_free(self, work: Callable[[], Awaitable[T]]) -> T:
        async with self._turn:
            await self._no_moves.wait()
            self._running = asyncio.current_task()
            try:
                return await work()
            finally:
                self._running = None

    def _forget(self, job_id: str, task: asyncio.Task[T]) -> None:
        tasks = self._waiting[job_id]
        tasks.discard(task)
        if not tasks:
            del self._waiting[job_id]


def _gave_way(job_id: str) -> Conflict:
    return Conflict(f"cannot fetch a replica of job {job_id} now: another order about the job came; it is tried again")
