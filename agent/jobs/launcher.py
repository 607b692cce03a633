"""Starts supervisors: here as detached processes, in :mod:`.systemd_launcher` as transient services of systemd."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from heliotrope.foundation.errors import Unreachable

from .request import RunRequest

_START_S = 20.0  # a supervisor needs milliseconds; a machine out of memory may need longer
_ENVIRONMENT = {"LANG": "C.UTF-8", "PATH": os.defpath}  # nothing of the daemon's own
# What the interpreter is given before the run's folder: without site-packages and their import hooks it starts in
# a fraction of the time.
SUPERVISOR = ("-I", "-S", "-B", str(Path(__file__).with_name("supervisor.py")))


class Launcher(Protocol):
    """Brings up the supervisor of a run whose run.json is written, so that it outlives the agent.

    ``confines``: whether it has the kernel hold each job to its memory and processes.
    """

    @property
    def confines(self) -> bool: ...

    async def start(self, request: RunRequest) -> None:
        """Return once the supervisor is on its way. Starting one that already runs does nothing. Raises Unreachable."""


class DetachedLauncher:
    """A process of its own session and no child of ours: it lives on when the agent stops or is killed.

    Stopping a systemd unit kills all in its control group all the same; under systemd, use transient services.
    """

    confines = False

    def __init__(self, python: str = sys.executable) -> None:
        self._python = python

    async def start(self, request: RunRequest) -> None:
        """Start the supervisor by its file's path, isolated from site-packages and from our environment."""
        command = (self._python, *SUPERVISOR, "--detach", request.run_dir)
        await call(command, request, f"check {self._python} and {SUPERVISOR[-1]}")


async def call(command: Sequence[str], request: RunRequest, advice: str) -> None:
    """Run a program that brings a supervisor up and then ends. Raises Unreachable with its last word and ``advice``."""
    failed = f"cannot start the supervisor of job {request.job_id!r}"
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, start_new_session=True, env=_ENVIRONMENT
        )
        async with asyncio.timeout(_START_S):
            _, complaint = await process.communicate()
    except OSError as error:
        raise Unreachable(f"{failed}: {error}; {advice}") from error
    except TimeoutError as error:
        process.kill()
        raise Unreachable(f"{failed}: nothing after {_START_S:.0f} s; the node is overloaded, try again") from error
    if process.returncode:
        cause = complaint.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        raise Unreachable(f"{failed}: {cause[0]}; {advice}")
