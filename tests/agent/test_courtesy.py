"""Replicas give way: to moves, to other orders of their job, and to each other."""

from __future__ import annotations

import asyncio

import pytest

from heliotrope.agent.courtesy import Courtesy
from heliotrope.foundation.errors import Conflict


class Transfer:
    """A transfer that ends when it is let; counts how often it was begun, and whether it was broken off."""

    def __init__(self) -> None:
        self.begun, self.broken_off = 0, 0
        self.running = asyncio.Event()
        self.may_end = asyncio.Event()

    async def __call__(self) -> str:
        self.begun += 1
        self.running.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.broken_off += 1
            self.running.clear()
            raise
        return "done"


def test_one_at_a_time_and_begun_again_after_a_move() -> None:
    async def scenario() -> None:
        courtesy, first, second = Courtesy(), Transfer(), Transfer()
        one = asyncio.create_task(courtesy.replica("j-1", first))
        await first.running.wait()
        two = asyncio.create_task(courtesy.replica("j-2", second))
        async with courtesy.first("j-3", transfers=True):
            assert (first.begun, first.broken_off, second.begun) == (1, 1, 0)
            assert not one.done()
        # The one that gave way queues again behind the other.
        await second.running.wait()
        assert not first.running.is_set()
        second.may_end.set()
        first.may_end.set()
        await asyncio.gather(one, two)
        assert {one.result(), two.result()} == {"done"}
        assert (first.begun, second.begun) == (2, 1)

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_another_order_of_its_job_ends_it_whether_it_runs_or_waits() -> None:
    async def scenario() -> None:
        courtesy, transfer, waiting = Courtesy(), Transfer(), Transfer()
        running = asyncio.create_task(courtesy.replica("j-1", transfer))
        await transfer.running.wait()
        queued = asyncio.create_task(courtesy.replica("j-2", waiting))
        await asyncio.sleep(0)
        for job_id, task in (("j-2", queued), ("j-1", running)):
            async with courtesy.first(job_id, transfers=False):
                with pytest.raises(Conflict, match=job_id):
                    await task
                with pytest.raises(Conflict, match=job_id):
                    await courtesy.replica(job_id, waiting)
        assert (transfer.broken_off, waiting.begun) == (1, 0)

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_an_order_that_is_itself_cancelled_takes_its_transfer_with_it() -> None:
    async def scenario() -> None:
        courtesy, transfer = Courtesy(), Transfer()
        task = asyncio.create_task(courtesy.replica("j-1", transfer))
        await transfer.running.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert transfer.broken_off == 1
        transfer.may_end.set()
        assert await courtesy.replica("j-1", transfer) == "done"

    asyncio.run(asyncio.wait_for(scenario(), 20))
