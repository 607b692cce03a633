"""The jobs a node holds: one folder each, with a record that is durable before anything is done by it.

jobs/JOB/record.json          what is held, under which epoch, what is fenced
jobs/JOB/work/                the job's working directory: its files, its checkpoints, its outputs
jobs/JOB/received/E-S/        checkpoints that came from other nodes, whole by rename
jobs/JOB/outgoing, incoming   outputs while they are gathered or arrive
jobs/JOB/runs/E-A/            one supervisor's folder per (epoch, attempt)
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from heliotrope.foundation import records
from heliotrope.foundation.errors import Conflict, InvalidInput, NotFound
from heliotrope.foundation.jobspec import JobSpec
from heliotrope.foundation.model import Record

from .checkpoints.walk import open_inside
from .jobs import runfolder

VERSION = 1
_ID = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


class HeldJob(Record):
    """A job at this node. ``epoch``: of its newest run here, 0 before the first."""

    job_id: str
    spec: JobSpec
    bundle_digest: bytes
    prepared: bool = False
    epoch: int = 0
    attempt: int = 0
    lease_s: float | None = None
    fenced_epoch: int = 0  # nothing runs here under this epoch or an older one
    gpu_uuids: tuple[str, ...] = ()
    user: str = ""  # the account that it was given here; empty: the job file's, else the node's default
    outputs_digest: bytes = b""  # of the outputs that came with the job last
    version: int = VERSION


class HeldJobs:
    """The folders of held jobs, and the only writer of their records."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o711)
        self._jobs: dict[str, HeldJob] = {}
        for path in sorted(folder.glob("*/record.json")):
            held = records.load(path, HeldJob)
            self._jobs[held.job_id] = held

    def all(self) -> list[HeldJob]:
        return list(self._jobs.values())

    def find(self, job_id: str) -> HeldJob | None:
        return self._jobs.get(job_id)

    def get(self, job_id: str) -> HeldJob:
        """Raises NotFound."""
        held = self._jobs.get(job_id)
        if held is None:
            raise NotFound(f"cannot find job {job_id} on this node: it was never prepared here, or was released")
        return held

    def put(self, held: HeldJob) -> HeldJob:
        """Durable on return."""
        folder = self.folder(held.job_id)
        folder.mkdir(exist_ok=True, mode=0o700)
        records.save(folder / "record.json", held)
        self._jobs[held.job_id] = held
        return held

    def update(self, job_id: str, **changes: object) -> HeldJob:
        return self.put(msgspec.structs.replace(self.get(job_id), **changes))

    def remove(self, job_id: str) -> None:
        """Forget the job and delete its files. The record goes first: without it the folder is only rubbish."""
        self._jobs.pop(job_id, None)
        folder = self.folder(job_id)
        (folder / "record.json").unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    def folder(self, job_id: str) -> Path:
        if not _ID.fullmatch(job_id):
            raise InvalidInput(f"field job_id: {job_id!r} is not an id of this protocol")
        return self._folder / job_id

    def admit(self, job_id: str, owner: tuple[int, int] | None) -> None:
        """Let the job's account (uid, gid; None: the agent's own) pass through its folder, and no other job's."""
        folder = self.folder(job_id)
        if owner is not None:
            os.chown(folder, -1, owner[1])
        folder.chmod(0o700 if owner is None else 0o710)

    def shut(self, job_id: str) -> None:
        """Nothing of the job runs: its account, which another job may have next, does not get into its folder."""
        with contextlib.suppress(FileNotFoundError):
            self.folder(job_id).chmod(0o700)

    def owner(self, job_id: str) -> tuple[int, int] | None:
        """(uid, gid) of the job's account, by its folder, which only the agent can replace; None: the agent's own."""
        try:
            status = self.work(job_id).lstat()
        except FileNotFoundError:
            return None  # not unpacked here
        return None if status.st_uid == os.geteuid() else (status.st_uid, status.st_gid)

    @contextlib.contextmanager
    def opened_checkpoints(self, held: HeldJob) -> Iterator[Path | None]:
        """The job's checkpoint folder, None if it made none, as a path that stays that folder while it is open.

        The job owns every folder below its own: a link in the place of one of them would lead the agent, which may be
        root, to anybody's files. Raises Conflict where a link stands.
        """
        name = os.fsencode(held.spec.checkpoint.directory)
        try:
            handle = open_inside(self.work(held.job_id), name, is_folder=True)
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            raise Conflict(
                f"cannot look for checkpoints of job {held.job_id} in {held.spec.checkpoint.directory!r}: "
                f"{error.strerror}; make it a folder, not a link"
            ) from error
        try:
            yield Path(f"/proc/self/fd/{handle}")
        finally:
            os.close(handle)

    def work(self, job_id: str) -> Path:
        return self.folder(job_id) / "work"

    def checkpoints(self, held: HeldJob) -> Path:
        return self.work(held.job_id) / held.spec.checkpoint.directory

    def received(self, job_id: str, epoch: int, sequence: int) -> Path:
        return self.folder(job_id) / "received" / f"{epoch}-{sequence}"

    def run(self, job_id: str, epoch: int, attempt: int) -> Path:
        return self.folder(job_id) / runfolder.RUNS / f"{epoch}-{attempt}"
