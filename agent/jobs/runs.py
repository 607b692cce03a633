"""A run as the agent holds it: launch or re-open by its folder, ask, watch, end. Nothing lives only in memory.

A restarted agent calls :meth:`Run.open` on every run folder and goes on: the supervisor did not notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from heliotrope.foundation import clock, records
from heliotrope.foundation.errors import Conflict, Corrupt, DeadlineExceeded, NotFound, Unreachable

from . import processes, runfolder
from .control_client import call
from .launcher import Launcher
from .request import RunRequest, check
from .run_records import CheckpointAnswer, Event, Live, Progress, RunStatus, advance

_START_S = 20.0
_GONE_S = 15.0  # how long a lost run's processes may take to die of SIGKILL
_POLL_S = 0.05
_FOLLOW_S = 0.25  # how often a follower of events looks for more


class Run:
    """One attempt of one job on this node, by its folder."""

    def __init__(self, request: RunRequest) -> None:
        self.request = request
        self.folder = Path(request.run_dir)
        self._place = request.run_dir
        self._known: tuple[tuple[int, int, int], RunStatus] | None = None

    @classmethod
    async def launch(cls, request: RunRequest, launcher: Launcher) -> Run:
        """Start the run and return once its supervisor has it. A second call for the same folder adopts what is there.

        Raises InvalidInput (a field), Conflict (the folder belongs to another run), Unreachable, DeadlineExceeded.
        A command that cannot be executed raises nothing: the run ends as failed with the cause in ``error``.
        """
        check(request)
        folder = Path(request.run_dir)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (folder / runfolder.RUN).exists():
            known = cls.open(folder).request
            if (known.job_id, known.epoch, known.attempt) != (request.job_id, request.epoch, request.attempt):
                raise Conflict(
                    f"cannot launch job {request.job_id!r}: {folder} belongs to job {known.job_id!r}, epoch "
                    f"{known.epoch}, attempt {known.attempt}; give every attempt its own folder"
                )
        run = cls(msgspec.structs.replace(request, boot_id=clock.boot_id()))
        if (folder / runfolder.STATUS).exists():
            return cls.open(folder)
        records.save(folder / runfolder.RUN, run.request)
        await launcher.start(run.request)
        await run._wait_started()
        return run

    @classmethod
    def open(cls, folder: Path) -> Run:
        """The run of that folder, after a restart of the agent for instance. Raises NotFound, Corrupt."""
        try:
            return cls(records.load(folder / runfolder.RUN, RunRequest))
        except FileNotFoundError as error:
            raise NotFound(f"cannot open run {folder}: it holds no {runfolder.RUN}; launch it anew") from error

    async def status(self) -> RunStatus:
        """How the run stands. A vanished supervisor gives ``lost``, but only once every process of the job is gone.

        Raises NotFound when it never started (launch it again), DeadlineExceeded when leftovers do not die.
        """
        status = self._read_status()
        if status.over or self._supervised(status):
            return status
        status = self._read_status()  # it may have ended properly between the two looks
        return status if status.over else await self._lose(status)

    async def live(self) -> Live:
        """What the supervisor says now. Raises Conflict when the run is over."""
        answer = await self._call("status")
        answer.pop("ok")
        return msgspec.convert(answer, Live)

    async def events(self, since_offset_bytes: int = 0, *, follow: bool = True) -> AsyncIterator[Event]:
        """The run's events from that offset on; with ``follow`` until its end, else what is there now."""
        offset_bytes = since_offset_bytes
        while True:
            over = not follow or (await self.status()).over  # asked before reading: its last events are then there
            for event in self._read_events(offset_bytes):
                offset_bytes = event.next_offset_bytes
                yield event
            if over:
                return
            await asyncio.sleep(_FOLLOW_S)

    def progress(self) -> Progress | None:
        """The job's latest report; None if it has made none."""
        try:
            return msgspec.json.decode((self.folder / runfolder.PROGRESS).read_bytes(), type=Progress)
        except FileNotFoundError:
            return None

    async def request_checkpoint(self, request_id: str, *, stop: bool = False) -> CheckpointAnswer:
        """Ask for a checkpoint, after which (``stop``) the job is to end. The same id again changes nothing.

        Returns where the request stands, also after the run's end if it was made before. Raises Conflict.
        """
        known = self.answer_of(request_id)
        if known is not None and known.state in ("answered", "failed"):
            return known
        answer = await self._call("checkpoint", request_id=request_id, stop=stop)
        return msgspec.convert(answer["request"], CheckpointAnswer)

    async def wait_answer(self, request_id: str, timeout_s: float) -> CheckpointAnswer:
        """Wait until the checkpoint is whole. Raises DeadlineExceeded (the request stays open: cancel it or wait
        again), Conflict when the job cannot or ended without it.
        """
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        known, offset_bytes = None, 0
        while True:
            over = (await self.status()).over
            for event in self._read_events(offset_bytes):
                known, offset_bytes = advance(known, event, request_id), event.next_offset_bytes
            if known is None:
                raise NotFound(f"cannot wait for request {request_id!r}: it was never made; request it first")
            if known.state == "answered":
                return known
            if known.state == "failed" or over:
                cause = known.error or "its supervisor is gone"
                raise Conflict(f"cannot get a checkpoint of job {self.request.job_id!r}: {cause}; see its log")
            if asyncio.get_running_loop().time() >= deadline_s:
                raise DeadlineExceeded(await self._unanswered(known, timeout_s))
            await asyncio.sleep(_POLL_S)

    async def cancel_request(self, request_id: str) -> bool:
        """Take a request back. False if it was answered already, or the run is over."""
        try:
            return bool((await self._call("cancel", request_id=request_id))["cancelled"])
        except Conflict:
            return False

    async def mark_answered(self, request_id: str, name: str, step: int | None = None) -> None:
        """Say that the agent itself found the whole checkpoint which answers a request (jobs that do not announce)."""
        await self._call("answer", request_id=request_id, name=name, step=step)

    def answer_of(self, request_id: str) -> CheckpointAnswer | None:
        """Where a request stands by the durable record; None if it was never made."""
        found: CheckpointAnswer | None = None
        for event in self._read_events(0):
            found = advance(found, event, request_id)
        return found

    async def renew(self, deadline_boottime_s: float | None) -> None:
        """Move the lease's end (CLOCK_BOOTTIME); None: run on without one. Raises Conflict when it is too late."""
        await self._call("renew", deadline_boottime_s=deadline_boottime_s)

    async def stop(self, grace_s: float | None = None) -> RunStatus:
        """SIGTERM, ``grace_s`` (default: the job's), SIGKILL; returns when nothing is left, at once if it ended."""
        grace_s = self.request.grace_s if grace_s is None else grace_s
        return await self._end("stop", grace_s + _GONE_S, grace_s=grace_s)

    async def fail(self, error: str, grace_s: float) -> RunStatus:
        """As :meth:`stop`, but the run counts as failed by the job's fault, ``error`` saying why: a limit it passed."""
        return await self._end("stop", grace_s + _GONE_S, grace_s=grace_s, cause="limit", error=error)

    async def kill(self) -> RunStatus:
        """SIGKILL to every process of the job; returns when nothing is left."""
        return await self._end("kill", _GONE_S)

    async def wait(self, timeout_s: float) -> RunStatus:
        """Wait for the run's end. Raises DeadlineExceeded."""
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while True:
            status = await self.status()
            if status.over:
                return status
            if asyncio.get_running_loop().time() >= deadline_s:
                raise DeadlineExceeded(
                    f"cannot see the end of job {self.request.job_id!r}: still {status.state} after {timeout_s:.1f} s; "
                    "wait longer or stop it"
                )
            await asyncio.sleep(_POLL_S)

    @property
    def pids(self) -> tuple[int, ...]:
        """The roots of the run's process tree, for the attribution of energy; empty when nothing runs."""
        try:
            status = self._read_status()
        except NotFound:
            return ()
        # every process of the job is below the supervisor: orphans come to it
        return () if status.over or not self._supervised(status) else (status.supervisor_pid,)

    async def _end(self, operation: str, timeout_s: float, **fields: Any) -> RunStatus:
        try:
            await self._call(operation, **fields)
        except Conflict:  # it ended by itself meanwhile
            return await self.status()
        return await self.wait(timeout_s)

    async def _call(self, operation: str, **fields: Any) -> dict[str, Any]:
        try:
            return await call(self.folder / runfolder.CONTROL_SOCKET, {"op": operation, **fields})
        except Unreachable as error:
            status = await self.status()
            if status.over:
                raise Conflict(
                    f"cannot {operation} job {self.request.job_id!r}: its run is over ({status.reason}); start it anew"
                ) from error
            raise

    async def _wait_started(self) -> None:
        deadline_s = asyncio.get_running_loop().time() + _START_S
        while not self._has_started():
            if asyncio.get_running_loop().time() >= deadline_s:
                raise DeadlineExceeded(
                    f"cannot launch job {self.request.job_id!r}: its supervisor wrote nothing in {_START_S:.0f} s; "
                    f"see {self.folder / runfolder.SUPERVISOR_LOG}"
                )
            await asyncio.sleep(_POLL_S / 10)

    def _has_started(self) -> bool:
        try:
            return self._read_status().state != "starting"
        except NotFound:
            return False

    def _read_status(self) -> RunStatus:
        path = os.path.join(self._place, runfolder.STATUS)  # noqa: PTH118 - asked several times a second for every job
        try:
            found = os.stat(path)  # noqa: PTH116
            key = (found.st_ino, found.st_mtime_ns, found.st_size)
            if self._known is None or self._known[0] != key:  # it is only ever replaced as a whole
                self._known = key, records.load(Path(path), RunStatus)
            return self._known[1]
        except FileNotFoundError as error:
            raise NotFound(
                f"cannot tell how job {self.request.job_id!r} stands: its supervisor never started; launch it again"
            ) from error

    def _supervised(self, status: RunStatus) -> bool:
        return status.boot_id == clock.boot_id() and processes.is_alive(
            status.supervisor_pid, status.supervisor_start_ticks
        )

    async def _lose(self, status: RunStatus) -> RunStatus:
        """The supervisor is gone: see that the job is too, then write it down (nobody else writes there any more)."""
        if status.boot_id == clock.boot_id():
            await self._kill_leftovers(status)
            error = "killed, or it crashed; its log may say more"
        else:
            error = "the machine was restarted"
        lost = msgspec.structs.replace(status, state="lost", reason="lost", error=error, ended_utc=runfolder.utc_now())
        with contextlib.suppress(OSError):  # a full disk: it is found out anew the next time
            records.save(self.folder / runfolder.STATUS, lost)
        return lost

    async def _kill_leftovers(self, status: RunStatus) -> None:
        deadline_s = asyncio.get_running_loop().time() + _GONE_S
        while left := self._leftovers(status):
            if asyncio.get_running_loop().time() >= deadline_s:
                raise DeadlineExceeded(
                    f"cannot declare job {self.request.job_id!r} lost: processes "
                    f"{', '.join(str(process.pid) for process in left)} do not die; look at them on the node"
                )
            processes.kill_all(left)
            await asyncio.sleep(_POLL_S)

    def _leftovers(self, status: RunStatus) -> list[processes.Process]:
        """The job's processes without a supervisor to ask: by its session, and by the socket in their environment."""
        mark = f"HELIOTROPE_SOCKET={self.folder / runfolder.JOB_SOCKET}"
        session = [
            process
            for process in processes.everyone()
            if status.job_pid
            and process.session == status.job_pid
            and process.start_ticks >= status.job_start_ticks
            and process.alive
            and (process.pid != status.job_pid or process.start_ticks == status.job_start_ticks)
        ]
        return [*session, *processes.marked(mark)]

    def _read_events(self, offset_bytes: int) -> list[Event]:
        try:
            path = os.path.join(self._place, runfolder.EVENTS)  # noqa: PTH118
            if os.stat(path).st_size <= offset_bytes:  # noqa: PTH116
                return []
            with open(path, "rb") as file:
                file.seek(offset_bytes)
                data = file.read()
        except FileNotFoundError:
            return []
        found = []
        for line in data.splitlines(keepends=True):
            if not line.endswith(b"\n"):  # still being written
                break
            offset_bytes += len(line)
            try:
                event = msgspec.json.decode(line, type=Event)
            except msgspec.DecodeError as error:
                raise Corrupt(f"cannot read {self.folder / runfolder.EVENTS}: {error}; remove the line") from error
            found.append(msgspec.structs.replace(event, next_offset_bytes=offset_bytes))
        return found

    async def _unanswered(self, known: CheckpointAnswer, timeout_s: float) -> str:
        """Say what was waited for, and how far it came."""
        why = "the job has it and does not answer" if known.state == "delivered" else "it was not delivered"
        live = await self.live()
        detail = next((request.error for request in live.requests if request.request_id == known.request_id), "")
        if known.state == "open" and not live.ready:
            why = "the job never said that it is ready"
        return (
            f"cannot get a checkpoint of job {self.request.job_id!r}: no answer to request {known.request_id!r} in "
            f"{timeout_s:.1f} s, {detail or why}; see docs/job-contract.md on requests"
        )
