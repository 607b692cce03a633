"""The state thread: every change of state runs here, one transaction at a time.

The asyncio side (sessions, operators) hands functions in and awaits their results; after a change the managers'
``ensure`` bring the world to where it should be, and again on a slow beat for what only time brings (deadlines,
windows).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

from heliotrope.foundation.errors import HeliotropeError

from .state.database import Database, Transaction

T = TypeVar("T")
log = logging.getLogger("heliotrope.coordinator.engine")

BEAT_S = 0.5
# One pass can make the next one possible (VERIFIED leads to STARTING); a chain longer than this waits for the beat.
PASSES_LIMIT = 6


def _nothing() -> bool:
    """The task of a beat on which no work waits."""
    return False


class Manager(Protocol):
    """Shares the state with other managers and knows none of them."""

    def ensure(self, tx: Transaction) -> bool:
        """Bring the world to where it should be; may be called any time. True: another pass may find more to do."""
        ...


class Engine:
    """Runs transactions and managers in one thread."""

    def __init__(self, database: Database, managers: Sequence[Manager]) -> None:
        self._database = database
        self._managers = managers
        self._tasks: SimpleQueue[Callable[[], bool] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name="state", daemon=True)
        self.alive = threading.Event()

    @property
    def waiting_count(self) -> int:
        """Changes that wait for the thread."""
        return self._tasks.qsize()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._tasks.put(None)
        self._thread.join()

    async def run(self, change: Callable[[Transaction], T], *, ensure: bool = True) -> T:
        """``change`` in a transaction; returns once it is committed. Its exceptions roll back and come out here.

        ``ensure=False`` for what no manager reacts to (energy, logs), so that a flood of it costs no passes.
        """
        return await asyncio.wrap_future(self.submit(change, ensure=ensure))

    async def read(self, look: Callable[[Transaction], T]) -> T:
        """``look`` at one state of the database, in a thread beside the state's: for what may take seconds."""
        return await asyncio.to_thread(self._read, look)

    def _read(self, look: Callable[[Transaction], T]) -> T:
        with self._database.snapshot() as tx:
            return look(tx)

    def submit(self, change: Callable[[Transaction], T], *, ensure: bool = True) -> Future[T]:
        future: Future[T] = Future()

        def task() -> bool:
            # Whoever waited may be gone (its call was ended): then nothing is done. From here on it cannot be
            # cancelled, so that the result always finds its future as it should be.
            if not future.set_running_or_notify_cancel():
                return False
            try:
                with self._database.transaction() as tx:
                    result = change(tx)
            except BaseException as error:  # noqa: BLE001 - handed to whoever awaits
                future.set_exception(error)
                return False
            future.set_result(result)
            return ensure

        self._tasks.put(task)
        return future

    def _loop(self) -> None:
        wanted, beat_s = True, time.monotonic()
        while True:
            # Work first, managers when nothing waits, so that a burst of reports is followed by one pass, not by many;
            # but never later than the beat, or an endless trickle of work would keep time from passing.
            left_s = beat_s - time.monotonic()
            try:
                task = self._tasks.get(block=not wanted and left_s > 0, timeout=max(left_s, 0.0))
            except Empty:
                task = _nothing
            if task is None:
                return
            wanted = task() or wanted
            if (wanted and self._tasks.empty()) or time.monotonic() >= beat_s:
                self._ensure()
                wanted, beat_s = False, time.monotonic() + BEAT_S

    def _ensure(self) -> None:
        self.alive.set()
        for _ in range(PASSES_LIMIT):
            again = False
            for manager in self._managers:
                again = self._ensure_one(manager) or again
            if not again:
                return

    def _ensure_one(self, manager: Manager) -> bool:
        try:
            with self._database.transaction() as tx:
                return manager.ensure(tx)
        except HeliotropeError as error:
            log.error("%s: %s", type(manager).__name__, error)
        except Exception:
            log.exception("%s: its pass failed and is tried again", type(manager).__name__)
        return False
