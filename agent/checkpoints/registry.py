"""The durable register of jobs' checkpoints: which there are, which is newest, and which epochs are over.

A checkpoint's identity is (job, epoch, sequence), given here, never a time stamp: clocks jump, epochs do not.
"""

from __future__ import annotations

import re
import threading
from datetime import datetime
from pathlib import Path

import msgspec

from heliotrope.foundation import failpoints, records
from heliotrope.foundation.errors import Conflict, InvalidInput, NotFound

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
failpoints.register("register.before", "register.persisted")


class CheckpointRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One checkpoint. ``step``: the job's own count, None where it did not say; ``manifest_digest``: hex."""

    job_id: str
    epoch: int
    sequence: int
    name: str
    path: str
    manifest_digest: str
    state_bytes: int
    step: int | None = None
    created_utc: datetime | None = None  # for people and expectations; never an identity
    unchanged_bytes: int | None = None  # None: no checkpoint before it was here

    @property
    def identity(self) -> tuple[int, int]:
        """(epoch, sequence): later checkpoints compare greater."""
        return self.epoch, self.sequence


class _JobFile(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    job_id: str
    epoch: int
    next_sequence: int
    checkpoints: list[CheckpointRecord]


def _job_files(folder: Path) -> list[_JobFile]:
    return [records.load(path, _JobFile) for path in sorted(folder.glob("*.json"))]


def load_jobs(folder: Path) -> list[CheckpointRecord]:
    """What a register's folder holds, by job, oldest first, without opening it for changes. Raises Corrupt."""
    return [record for held in _job_files(folder) for record in held.checkpoints]


class CheckpointRegister:
    """One JSON file per job in ``folder``, replaced as a whole on every change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._jobs = {held.job_id: held for held in _job_files(folder)}

    def add(
        self,
        job_id: str,
        epoch: int,
        *,
        name: str,
        path: Path,
        manifest_digest: bytes,
        state_bytes: int,
        step: int | None = None,
        created_utc: datetime | None = None,
        unchanged_bytes: int | None = None,
    ) -> CheckpointRecord:
        """Register a checkpoint made here and give it the next sequence number; durable on return.

        A checkpoint of an older epoch raises Conflict: its runner was fenced. The same name, path and digest in the
        same epoch returns the record that is there.
        """
        with self._lock:
            held = self._copy(job_id)
            self._pass(held, epoch)
            for known in held.checkpoints:
                if (known.epoch, known.path, known.manifest_digest) == (epoch, str(path), manifest_digest.hex()):
                    return known
            record = CheckpointRecord(
                job_id,
                epoch,
                held.next_sequence,
                name,
                str(path),
                manifest_digest.hex(),
                state_bytes,
                step,
                created_utc,
                unchanged_bytes,
            )
            held.checkpoints.append(record)
            held.next_sequence += 1
            self._save(held)
            return record

    def adopt(self, record: CheckpointRecord) -> CheckpointRecord:
        """Register a checkpoint that came from another node under the identity it has; again is no change.

        Raises Conflict for an older epoch, or for an identity that is taken by other bytes.
        """
        with self._lock:
            held = self._copy(record.job_id)
            self._pass(held, record.epoch)
            for known in held.checkpoints:
                if known.identity == record.identity:
                    if known.manifest_digest != record.manifest_digest:
                        raise Conflict(
                            f"cannot adopt checkpoint {record.job_id} {record.epoch}.{record.sequence}: another one "
                            "has that "
                            "identity; two nodes ran the job in one epoch, compare them by hand"
                        )
                    held.checkpoints.remove(known)
                    break
            held.checkpoints.append(record)
            held.checkpoints.sort(key=lambda known: known.identity)
            held.next_sequence = max(held.next_sequence, record.sequence + 1)
            self._save(held)
            return record

    def fence(self, job_id: str, epoch: int) -> None:
        """From now on refuse checkpoints of epochs below ``epoch``; lowering it raises Conflict."""
        with self._lock:
            held = self._copy(job_id)
            self._pass(held, epoch)
            self._save(held)

    def checkpoints(self, job_id: str) -> list[CheckpointRecord]:
        """The job's checkpoints, oldest first; empty for an unknown job."""
        with self._lock:
            held = self._jobs.get(job_id)
            return list(held.checkpoints) if held else []

    def newest(self, job_id: str) -> CheckpointRecord | None:
        """The checkpoint with the greatest (epoch, sequence), or None."""
        return max(self.checkpoints(job_id), key=lambda record: record.identity, default=None)

    def find(self, manifest_digest: bytes) -> CheckpointRecord:
        """The newest record of that digest, of any job. Raises NotFound."""
        text = manifest_digest.hex()
        with self._lock:
            found = [
                known for held in self._jobs.values() for known in held.checkpoints if known.manifest_digest == text
            ]
        if not found:
            raise NotFound(
                f"cannot find checkpoint {text[:16]}: it is not registered here; list what is with `job show`"
            )
        return max(found, key=lambda record: record.identity)

    def jobs(self) -> list[str]:
        """Ids of all jobs with a record, sorted."""
        with self._lock:
            return sorted(self._jobs)

    def epoch(self, job_id: str) -> int:
        """The oldest epoch still accepted; 0 for an unknown job."""
        with self._lock:
            held = self._jobs.get(job_id)
            return held.epoch if held else 0

    def remove(self, record: CheckpointRecord) -> None:
        """Forget a checkpoint (its files are the caller's); no error if it is gone."""
        with self._lock:
            held = self._copy(record.job_id)
            held.checkpoints = [known for known in held.checkpoints if known.identity != record.identity]
            self._save(held)

    def forget_job(self, job_id: str) -> None:
        """Remove everything about a job, its epoch included; only when it can never run here again."""
        with self._lock:
            self._path(job_id).unlink(missing_ok=True)
            records.sync_folder(self.folder)
            self._jobs.pop(job_id, None)

    def _copy(self, job_id: str) -> _JobFile:
        """A copy to change: the one in memory stays as it is on disk until the new one is durable."""
        held = self._jobs.get(job_id)
        if held is None:
            self._path(job_id)
            return _JobFile(1, job_id, 0, 1, [])
        return msgspec.structs.replace(held, checkpoints=list(held.checkpoints))

    @staticmethod
    def _pass(held: _JobFile, epoch: int) -> None:
        if epoch < held.epoch:
            raise Conflict(
                f"cannot accept epoch {epoch} of job {held.job_id}: epoch {held.epoch} has begun; this runner was "
                "fenced, stop it"
            )
        held.epoch = epoch

    def _save(self, held: _JobFile) -> None:
        failpoints.hit("register.before")
        records.save(self._path(held.job_id), held)
        failpoints.hit("register.persisted")
        self._jobs[held.job_id] = held

    def _path(self, job_id: str) -> Path:
        if not _JOB_ID.fullmatch(job_id):
            raise InvalidInput(f"cannot use job id {job_id!r}: letters, digits, '.', '_' and '-' only; rename the job")
        return self.folder / f"{job_id}.json"
