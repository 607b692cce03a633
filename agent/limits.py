"""What a running job takes, measured: disk everywhere, memory and processes where no control group limits them.

    over on disk           a checkpoint is asked for, then the job is ended
    over on memory, tasks  the job is ended at once: what it takes is taken from the others

Either way the run fails by the job's fault, with the limit, the figure and the remedy in its message.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
from pathlib import Path

from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import HeliotropeError

from .jobs import processes
from .jobs.runs import Run

log = logging.getLogger("heliotrope.agent.limits")

ANSWER_S = 60.0  # for the last checkpoint of a job that fills the disk
EFFORT = 50.0  # a walk over millions of files is done less often: at most 1 / EFFORT of the time is spent on it
_BLOCK_BYTES = 512


class LimitWatch:
    """Looks at one run; what is to be ended is ended by a task of its own."""

    def __init__(
        self, run: Run, work: Path, *, disk_bytes: int, is_confined: bool, interval_s: float, clock: Clock
    ) -> None:
        """``work``: the folder that ``disk_bytes`` holds for, 0: no limit; ``is_confined``: systemd limits the rest."""
        self._run = run
        self._work = work
        self._disk_bytes = disk_bytes
        self._is_confined = is_confined
        self._interval_s = interval_s
        self._clock = clock
        self._due_s = clock.monotonic_s()
        self._ending: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Measure if it is time to, and begin to end the run if it takes too much."""
        begun_s = self._clock.monotonic_s()
        if begun_s < self._due_s or self._ending is not None:
            return
        over, wants_checkpoint = await asyncio.to_thread(self._measure)
        spent_s = self._clock.monotonic_s() - begun_s
        self._due_s = begun_s + max(self._interval_s, EFFORT * spent_s)
        if over:
            log.warning("job %s: %s", self._run.request.job_id, over)
            self._ending = asyncio.create_task(self._end(over, wants_checkpoint))

    def close(self) -> None:
        if self._ending is not None:
            self._ending.cancel()

    def _measure(self) -> tuple[str, bool]:
        """(which limit is passed, in words; whether there is time for a checkpoint)."""
        request = self._run.request
        pids = () if self._is_confined else _pids(self._run)
        if self._disk_bytes and (used := disk_bytes(self._work)) > self._disk_bytes:
            text = f"its files take {used} bytes, more than resources.disk_bytes = {self._disk_bytes}"
            return f"{text}; raise it, or write less (checkpoints and outputs count)", True
        if pids and request.memory_bytes and (used := memory_bytes(pids, request.memory_bytes)) > request.memory_bytes:
            text = f"it takes {used} bytes of memory, more than resources.memory_bytes = {request.memory_bytes}"
            return f"{text}; raise it, or use less", False
        if pids and request.task_count_limit and (count := task_count(pids)) > request.task_count_limit:
            text = f"it has {count} processes and threads, more than the node's task_count_limit"
            return f"{text} = {request.task_count_limit}; start fewer, or have it raised", False
        return "", False

    async def _end(self, text: str, wants_checkpoint: bool) -> None:
        run = self._run
        request = run.request
        with contextlib.suppress(HeliotropeError):  # without a last checkpoint its newest one is what is left
            if wants_checkpoint and request.request_mode != "none":
                request_id = f"limit-{request.epoch}-{request.attempt}"
                await run.request_checkpoint(request_id)
                await run.wait_answer(request_id, ANSWER_S)
        try:
            await run.fail(text, request.grace_s if wants_checkpoint else 0.0)
        except HeliotropeError as error:
            log.warning("job %s: %s", request.job_id, error)
            self._ending = None  # again at the next look


def disk_bytes(folder: Path) -> int:
    """What lies below, as the disk counts it, each file once; links are not followed, what vanishes is nothing."""
    total_bytes, seen = 0, set()
    for _, folders, files, handle in os.fwalk(folder, follow_symlinks=False):
        for name in (*folders, *files):
            try:
                status = os.stat(name, dir_fd=handle, follow_symlinks=False)
            except OSError:
                continue
            if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
            total_bytes += status.st_blocks * _BLOCK_BYTES
    return total_bytes


def memory_bytes(pids: tuple[int, ...], limit_bytes: int) -> int:
    """Their memory that is no file's. What they share is divided among them only near the limit: that costs."""
    counted = sum(_status(pid, "RssAnon") + _status(pid, "RssShmem") for pid in pids) * 1024
    return counted if counted <= limit_bytes else sum(_proportional_bytes(pid) for pid in pids)


def task_count(pids: tuple[int, ...]) -> int:
    """Processes and their threads."""
    return sum(_status(pid, "Threads") for pid in pids)


def _pids(run: Run) -> tuple[int, ...]:
    """The job's processes, without its supervisor."""
    return tuple(process.pid for root in run.pids for process in processes.descendants(root))


def _status(pid: int, field: str) -> int:
    return _field(Path(f"/proc/{pid}/status"), field)


def _proportional_bytes(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup")
    return 1024 * (_field(rollup, "Pss_Anon") + _field(rollup, "Pss_Shmem"))


def _field(path: Path, name: str) -> int:
    """A number of one of the kernel's ``Name:  123 kB`` files; 0 when the process is gone."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)
