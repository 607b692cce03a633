"""The thread that talks to the services, so that no network and no disk of theirs holds up anything else.

It has an event loop of its own with one task per feed and VTN. What they bring is handed to the coordinator's state
thread as finished values; the two share nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Sequence
from typing import Protocol

import httpx

from .live import web

log = logging.getLogger("heliotrope.coordinator.forecasts")

DEFECT_WAIT_S = 300.0
STAGGER_S = 0.25  # between the first requests of a start: hundreds at once would look like an attack
LONGEST_WAIT_S = 3600.0  # then the clock is looked at again: it may have been set
STOP_TIMEOUT_S = 5.0


class Task(Protocol):
    """One thing to fetch again and again."""

    @property
    def name(self) -> str: ...

    async def step(self, client: httpx.AsyncClient) -> float:
        """One attempt; returns the seconds until the next. Its failures are its own business."""
        ...


class Feeder:
    """Runs tasks until stopped."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tasks
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="forecasts", daemon=True)

    def start(self) -> None:
        if self._tasks:
            self._thread.start()

    def stop(self) -> None:
        """Ends requests that are under way; returns when the thread is gone, or does not go."""
        if not self._thread.is_alive():
            return
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        async with web.client() as client:
            running = [
                asyncio.create_task(self._repeat(task, client, place * STAGGER_S))
                for place, task in enumerate(self._tasks)
            ]
            await self._stopping.wait()
            for one in running:
                one.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    @staticmethod
    async def _repeat(task: Task, client: httpx.AsyncClient, wait_s: float) -> None:
        while True:
            await asyncio.sleep(min(wait_s, LONGEST_WAIT_S))
            try:
                wait_s = await task.step(client)
            except Exception:
                log.exception("%s: its fetch failed unexpectedly and is tried again", task.name)
                wait_s = DEFECT_WAIT_S
