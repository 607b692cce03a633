# The supervisor starts in milliseconds, so no pathlib here.
# ruff: noqa: PTH105, PTH108, PTH118, PTH120
"""What lies in a run's folder, and how it is written (standard library only; supervisor and agent share the names).

================  =========================================================================================
run.json          the parameters, written by the agent before the supervisor starts
status.json       the run's state, durable; the supervisor alone writes it while it lives
events.jsonl      what happened, one JSON object a line, durable; an offset in it is a reader's position
progress.json     the job's latest figures, replaced at most once a second, not durable
stdout.log (.1)   the job's output
stderr.log (.1)
supervisor.log    the supervisor's own words, empty when all is well
supervisor.lock   held while a supervisor lives, so that two starts of one run give one supervisor
job.sock          the job's socket (HELIOTROPE_SOCKET)
control.sock      the agent's socket
================  =========================================================================================
"""

from __future__ import annotations

import contextlib
import json
import os
from datetime import UTC, datetime
from typing import Any

from .kernel import boottime_s

VERSION = 1  # of run.json, status.json, events.jsonl and the control socket
EVENTS_LIMIT_BYTES = 32 * 1024 * 1024  # what a job may make us write; the run's own end is always written

RUNS = "runs"  # the folder of a job that holds those of its runs
RUN = "run.json"
STATUS = "status.json"
EVENTS = "events.jsonl"
PROGRESS = "progress.json"
STDOUT = "stdout.log"
STDERR = "stderr.log"
SUPERVISOR_LOG = "supervisor.log"
LOCK = "supervisor.lock"
JOB_SOCKET = "job.sock"
CONTROL_SOCKET = "control.sock"


def utc_now() -> str:
    """Now in RFC 3339 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def replace_file(path: str, record: dict[str, Any], *, durable: bool) -> None:
    """Replace a JSON file whole; ``durable``: also through a power cut. Raises OSError."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            json.dump(record, file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if durable:
        handle = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class EventLog:
    """Appends durable lines to events.jsonl."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size_bytes = os.fstat(self._file).st_size
        self._pending: list[bytes] = []

    def add(self, kind: str, **fields: Any) -> bool:
        """Write one event; on a full disk it waits for :meth:`flush`. False past the limit (not for ``exit``)."""
        event = {"type": kind, "utc": utc_now(), "boottime_s": round(boottime_s(), 6), **fields}
        line = json.dumps(event).encode() + b"\n"
        if self._size_bytes + len(line) > EVENTS_LIMIT_BYTES and kind != "exit":
            return False
        self._pending.append(line)
        self.flush()
        return True

    def flush(self) -> bool:
        """Write what waits, whole lines or nothing. False while the disk is full."""
        data = b"".join(self._pending)
        try:
            whole = os.write(self._file, data) == len(data)
            if whole:
                os.fdatasync(self._file)
        except OSError:
            whole = False
        if not whole:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size_bytes)
            return False
        self._size_bytes += len(data)
        self._pending = []
        return True


class Parameters:
    """run.json as the supervisor reads it; the agent's :class:`..request.RunRequest` wrote and checked it."""

    def __init__(self, folder: str) -> None:
        with open(os.path.join(folder, RUN), encoding="utf-8") as file:
            read: dict[str, Any] = json.load(file)
        if read["version"] != VERSION:
            raise ValueError(f"run.json has version {read['version']}, this supervisor knows {VERSION}")
        self.job_id: str = read["job_id"]
        self.epoch: int = read["epoch"]
        self.attempt: int = read["attempt"]
        self.command: list[str] = read["command"]
        self.environment: dict[str, str] = read["environment"]
        self.working_dir: str = read["working_dir"]
        self.checkpoint_dir: str = read["checkpoint_dir"]
        self.resume_from: str = read["resume_from"]
        self.pythonpath_dir: str = read["pythonpath_dir"]
        self.user: str = read["user"]
        self.allow_same_user: bool = read["allow_same_user"]
        self.gpu_uuids: list[str] = read["gpu_uuids"]
        self.lease_deadline_boottime_s: float | None = read["lease_deadline_boottime_s"]
        self.boot_id: str = read["boot_id"]
        self.grace_s: float = read["grace_s"]
        self.stopped_codes: list[int] = read["stopped_codes"]
        self.keep_count: int = read["keep_count"]
        self.request_mode: str = read["request_mode"]
        self.signal: str = read["signal"]
        self.log_limit_bytes: int = read["log_limit_bytes"]
        self.memory_bytes: int = read["memory_bytes"]
        self.task_count_limit: int = read["task_count_limit"]
