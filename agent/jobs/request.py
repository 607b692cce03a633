"""What a run is started with: checked here, written to run.json, read by the supervisor."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from heliotrope.foundation.errors import InvalidInput

from .runfolder import VERSION

SIGNALS = frozenset(signal.Signals.__members__) - {"SIGKILL", "SIGSTOP", "SIGCHLD"}


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at running a job on this node. The caller has made the folders; all paths are absolute.

    ``environment`` is all the job gets besides PATH, LANG, HOME, USER, LOGNAME, SHELL and the contract's own
    variables: nothing is inherited from the daemon. ``lease_deadline_boottime_s`` is on CLOCK_BOOTTIME, None: no lease.
    """

    job_id: str
    epoch: int
    attempt: int
    command: tuple[str, ...]
    working_dir: str
    checkpoint_dir: str
    run_dir: str
    environment: dict[str, str] = {}
    resume_from: str = ""  # a whole checkpoint's path; empty on the first start
    pythonpath_dir: str = ""  # made by pythonpath.install; empty: heliotrope.job is not offered
    user: str = ""  # local account; empty: the daemon's own, which needs allow_same_user
    allow_same_user: bool = False  # the node's word that jobs may run as the daemon's user, root included
    gpu_uuids: tuple[str, ...] = ()
    lease_deadline_boottime_s: float | None = None
    grace_s: float = 30.0
    stopped_codes: tuple[int, ...] = (75,)
    keep_count: int = 2
    request_mode: Literal["socket", "signal", "none"] = "socket"
    signal: str = "SIGUSR1"
    log_limit_bytes: int = 64 * 1024 * 1024  # of both logs together
    memory_bytes: int = 0  # these three hold where the launcher can enforce them; 0: no limit
    cpu_count: int = 0
    task_count_limit: int = 0  # processes and threads
    boot_id: str = ""  # set when launched
    version: int = VERSION


def check(request: RunRequest) -> None:
    """What types cannot say. Raises InvalidInput naming the field."""
    for field, cause in (*_path_faults(request), *_command_faults(request), *_rule_faults(request)):
        raise InvalidInput(f"cannot launch job {request.job_id!r}: field {field}: {cause}")


def _path_faults(request: RunRequest) -> Iterator[tuple[str, str]]:
    for field in ("working_dir", "checkpoint_dir", "run_dir"):
        if not Path(getattr(request, field)).is_absolute():
            yield field, f"{getattr(request, field)!r} is not an absolute path; give one"
    for field in ("resume_from", "pythonpath_dir"):
        if getattr(request, field) and not Path(getattr(request, field)).is_absolute():
            yield field, f"{getattr(request, field)!r} is not an absolute path; give one or leave it empty"


def _command_faults(request: RunRequest) -> Iterator[tuple[str, str]]:
    if not request.command or not request.command[0]:
        yield "command", "empty; name the program to run"
    for field in ("command", "environment", "gpu_uuids"):
        value = getattr(request, field)
        texts = [*value, *value.values()] if isinstance(value, dict) else value
        yield from ((field, f"{text!r} holds a NUL byte; remove it") for text in texts if "\0" in text)
    for name in request.environment:
        if not name or "=" in name or name.startswith("HELIOTROPE_"):
            yield "environment", f"{name!r} cannot be set by a job; choose another name"


def _rule_faults(request: RunRequest) -> Iterator[tuple[str, str]]:
    if request.request_mode == "signal" and request.signal not in SIGNALS:
        yield "signal", f"{request.signal!r} cannot carry a request on this system; use SIGUSR1 or SIGUSR2"
    if not request.user and not request.allow_same_user:
        yield "user", "empty, and this node does not run jobs as the daemon's own user; name a local account"
    if request.grace_s < 0:
        yield "grace_s", f"{request.grace_s} is below 0; give seconds from 0"
    for field in ("memory_bytes", "cpu_count", "task_count_limit"):
        if getattr(request, field) < 0:
            yield field, f"{getattr(request, field)} is below 0; give 0 for no limit"
    if request.log_limit_bytes < 64 * 1024:
        yield "log_limit_bytes", f"{request.log_limit_bytes} is below 65536; give more"
