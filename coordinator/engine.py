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
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from heliotrope.foundation.errors import HeliotropeError

from .state.database import Database, Transaction

T = TypeVar("T")
log = logging.getLogger("heliotrope.coordinator.engine")

BEAT_S = 0.5
# One pass can make the next one possible (VERIFIED leads to STARTING); a chain longer than this waits for the beat.
PASSES_LIMIT = 6
GROUP_LIMIT = 256  # changes with one commit: the first of them waits for the last


@dataclass(frozen=True)
class _Change:
    """A function that waits for the thread, and whoever waits for its result."""

    make: Callable[[Transaction], Any]
    future: Future[Any]
    ensure: bool

    def is_wanted(self) -> bool:
        """Whoever waited may be gone (its call was ended): then nothing is done. From here on it cannot be cancelled,
        so that the result always finds its future as it should be.
        """
        return self.future.set_running_or_notify_cancel()


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
        self._waiting: SimpleQueue[_Change | None] = SimpleQueue()
        self._next: list[_Change | None] = []  # taken from the queue, and not for the group that it was looked at for
        self._thread = threading.Thread(target=self._loop, name="state", daemon=True)
        self.alive = threading.Event()

    @property
    def waiting_count(self) -> int:
        """Changes that wait for the thread."""
        return self._waiting.qsize()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._waiting.put(None)
        self._thread.join()

    async def run(self, change: Callable[[Transaction], T], *, ensure: bool = True) -> T:
        """``change`` in a transaction; returns once it is committed. Its exceptions roll back and come out here.

        ``ensure=False`` for what no manager reacts to (energy, logs), so that a flood of it costs no passes, and shares
        its commits.
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
        self._waiting.put(_Change(change, future, ensure))
        return future

    def _loop(self) -> None:
        wanted, beat_s = True, time.monotonic()
        while True:
            # Work first, managers when nothing waits, so that a burst of reports is followed by one pass, not by many;
            # but never later than the beat, or an endless trickle of work would keep time from passing.
            left_s = beat_s - time.monotonic()
            changes = self._take(max(left_s, 0.0) if not wanted else 0.0)
            if changes is None:
                return
            wanted = self._make(changes) or wanted
            if (wanted and not self._next and self._waiting.empty()) or time.monotonic() >= beat_s:
                self._ensure()
                wanted, beat_s = False, time.monotonic() + BEAT_S

    def _take(self, wait_s: float) -> list[_Change] | None:
        """What comes next: one change, or those in a row that no manager reacts to; none within ``wait_s``: nothing.
        None: the end.
        """
        changes: list[_Change] = []
        while len(changes) < GROUP_LIMIT:
            try:
                found = (
                    self._next.pop()
                    if self._next
                    else self._waiting.get(block=not changes and wait_s > 0, timeout=wait_s)
                )
            except Empty:
                break
            if found is None or (changes and found.ensure):
                if not changes:
                    return None
                self._next.append(found)
                break
            changes.append(found)
            if found.ensure:
                break
        return changes

    def _make(self, changes: list[_Change]) -> bool:
        """Each in a transaction of its own, or all in one with a savepoint for each. True: the managers should look."""
        if len(changes) == 1:
            return self._make_one(changes[0])
        made: list[tuple[_Change, Any]] = []
        try:
            with self._database.group() as group:
                for change in filter(_Change.is_wanted, changes):
                    try:
                        with group.step() as tx:
                            result = change.make(tx)
                    except BaseException as error:  # noqa: BLE001 - handed to whoever awaits
                        change.future.set_exception(error)
                    else:
                        made.append((change, result))
        except BaseException as error:  # noqa: BLE001 - nothing was committed, and everybody learns why
            for change in changes:
                if change.future.running() or (not change.future.done() and change.is_wanted()):
                    change.future.set_exception(error)
        else:
            for change, result in made:
                change.future.set_result(result)
        return False

    def _make_one(self, change: _Change) -> bool:
        if not change.is_wanted():
            return False
        try:
            with self._database.transaction() as tx:
                result = change.make(tx)
        except BaseException as error:  # noqa: BLE001 - handed to whoever awaits
            change.future.set_exception(error)
            return False
        change.future.set_result(result)
        return change.ensure

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
