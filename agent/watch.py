"""What one run's checkpoint folder brings: new checkpoints are registered, and asked for at the interval."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import HeliotropeError
from heliotrope.foundation.jobspec import CheckpointRules

from .checkpoints import discovery
from .jobs.runs import Run
from .vault import Vault

Opened = Callable[[], AbstractContextManager[Path | None]]
"""Gives the checkpoint folder, None while there is none, under a path that nobody can turn elsewhere meanwhile."""


class CheckpointWatch:
    """Looks at one run. What it remembers only saves work: a new agent process starts with an empty one."""

    def __init__(
        self, run: Run, rules: CheckpointRules, opened: Opened, begun_s: float, vault: Vault, clock: Clock
    ) -> None:
        """``opened`` gives the checkpoint folder; ``begun_s``: when the run's epoch began here [s since 1970]; what is
        older in the folder is of another."""
        self._run = run
        self._rules = rules
        self._opened = opened
        self._begun_s = begun_s
        self._vault = vault
        self._clock = clock
        self._offset_bytes = 0
        self._announced: dict[str, int | None] = {}
        self._known: set[tuple[str, int, int]] = set()
        self._newest_boottime_s = clock.boottime_s()

    async def look(self) -> bool:
        """Register what is whole and new; True if anything was.

        One entry that cannot be taken hides no other: the first of their errors is raised at the end.
        """
        await self._read_events()
        with self._opened() as folder:
            return folder is not None and await self._look_in(folder)

    async def _look_in(self, folder: Path) -> bool:
        found_any, failure = False, None
        for found in discovery.find(folder, self._rules, self._announced):
            try:
                status = found.path.lstat()
            except FileNotFoundError:
                continue  # the job pruned it between the two looks
            key = (found.name, status.st_ino, status.st_mtime_ns)
            if key in self._known or status.st_ctime < self._begun_s:
                continue
            try:
                found_any = await self._take(found) or found_any
                self._known.add(key)
            except HeliotropeError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return found_any

    async def _take(self, found: discovery.Found) -> bool:
        """Register one entry; False if it was known. Raises Conflict, NotFound as the vault does."""
        request, step = self._run.request, self._announced.get(found.name, found.step)
        if await asyncio.to_thread(self._vault.knows, request.job_id, request.epoch, found.path):
            return False
        await asyncio.to_thread(self._vault.add, request.job_id, request.epoch, found.path, step)
        self._newest_boottime_s = self._clock.boottime_s()
        if found.name not in self._announced:
            await self._answer(found.name, step)
        return True

    async def ask_when_due(self) -> None:
        """With ``checkpoint.interval_s``: a request when the newest checkpoint is that old."""
        interval_s, now_s = self._rules.interval_s, self._clock.boottime_s()
        if interval_s <= 0 or self._rules.request == "none" or now_s - self._newest_boottime_s < interval_s:
            return
        self._newest_boottime_s = now_s  # also when it fails: again after another interval
        request = self._run.request
        with contextlib.suppress(HeliotropeError):
            await self._run.request_checkpoint(f"interval-{request.epoch}-{request.attempt}-{now_s:.3f}")

    async def _read_events(self) -> None:
        async for event in self._run.events(self._offset_bytes, follow=False):
            self._offset_bytes = event.next_offset_bytes
            if event.type == "checkpoint":
                self._announced[event.name] = event.step

    async def _answer(self, name: str, step: int | None) -> None:
        """A job that does not announce its checkpoints answers by making one."""
        with contextlib.suppress(HeliotropeError):
            for request in (await self._run.live()).requests:
                if request.state == "delivered":
                    await self._run.mark_answered(request.request_id, name, step)
