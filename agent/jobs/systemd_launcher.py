"""Supervisors as transient services of systemd: out of the agent's unit, its sandbox and its control group.

A service and not a scope: a scope's processes are started by the agent and keep its sandbox. Inside is what runs
everywhere, the guard, the supervisor and the job::

    heliotrope-job-ID-RUN.service      root, five capabilities, no new privileges
      guard                            SIGTERM from systemd goes to it alone (KillMode=mixed), it passes it on
        supervisor                     holds lease, logs and exit code in a folder that the job cannot write
          job                          its own account, no capability; SIGTERM first, SIGKILL after its grace

The unit is root's because the supervisor must not be the job's: under one account a job could forge its own exit code
and outlive its lease. The job itself never runs as root here, whatever the node's configuration says.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import Iterator, Mapping
from pathlib import Path

from heliotrope.foundation.errors import Denied, InvalidInput, Unreachable

from . import devices, runfolder
from .launcher import SUPERVISOR, DetachedLauncher, Launcher, call
from .request import RunRequest

SLICE = "heliotrope-jobs.slice"
_KILL_MARGIN_S = 30.0  # systemd's SIGKILL comes this long after the supervisor's own
_CPU_WEIGHT = 100  # of one CPU asked for; systemd's default of a whole service, 10000 is the most
_SANDBOX = (
    # SIGTERM to the guard alone; SIGKILL to what is left once it is gone or the time is up.
    "KillMode=mixed",
    # The supervisor sees that the kernel killed the job for want of memory, and says so; systemd would stop both.
    "OOMPolicy=continue",
    # Nothing that the job starts gets more rights than it has itself: set-user-id programs stay without effect.
    "NoNewPrivileges=yes",
    "RestrictSUIDSGID=yes",
    # For the supervisor: become the job's account, give it its socket, read its checkpoint folder, end it.
    "CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_CHOWN CAP_DAC_READ_SEARCH CAP_KILL",
    # Other jobs' temporary files are none of its business, and its own go with it.
    "PrivateTmp=yes",
    "ProtectSystem=full",
    # A job at real-time priority could keep the daemons from their watchdogs.
    "RestrictRealtime=yes",
    "LockPersonality=yes",
    "KeyringMode=private",
    # Other accounts' processes, the daemons' among them, are not to be seen; the supervisor, of group root, sees all.
    "ProtectProc=invisible",
    # Only the devices that it was given, see the DeviceAllow= lines.
    "DevicePolicy=closed",
)


def choose(
    setting: str,
    extra_devices: tuple[str, ...] = (),
    environment: Mapping[str, str] = os.environ,
    hidden: tuple[Path, ...] = (),
) -> Launcher:
    """``auto``, ``systemd`` or ``detached`` -> launcher. "auto" is "systemd" where systemd itself started this process.

    SYSTEMD_EXEC_PID is set by systemd (248 and later) to the pid of what it starts, so a shell's child that inherited
    it is told apart. ``hidden``: see :class:`SystemdLauncher`. Raises Denied when "systemd" is demanded and cannot be.
    """
    started_by_systemd = environment.get("SYSTEMD_EXEC_PID") == str(os.getpid()) and os.geteuid() == 0
    if setting == "detached" or (setting == "auto" and not started_by_systemd):
        return DetachedLauncher()
    if os.geteuid() != 0:
        raise Denied('field jobs.launcher: "systemd" needs root, who alone may start services; write "detached"')
    if not Path("/run/systemd/system").is_dir():
        raise Denied('field jobs.launcher: this machine does not run systemd; write "detached"')
    for folder in hidden:
        if set(str(folder)) & set(":\"'\\\n"):
            raise InvalidInput(f"field state_dir: systemd cannot be given {str(folder)!r}; use letters, digits and '/'")
    return SystemdLauncher(extra_devices=extra_devices, hidden=hidden)


class SystemdLauncher:
    """Starts each run as the service :func:`unit_name`, which stays when the agent stops, restarts or is upgraded."""

    confines = True

    def __init__(
        self, python: str = sys.executable, extra_devices: tuple[str, ...] = (), hidden: tuple[Path, ...] = ()
    ) -> None:
        """``extra_devices``: what every job may open besides its GPUs, as ``DeviceAllow=`` names it.

        ``hidden``: folders that hold all jobs' files; of each a job sees only what is its own.
        """
        self._python = python
        self._hidden = hidden
        self._extra_devices = extra_devices

    async def start(self, request: RunRequest) -> None:
        """Returns when the supervisor's program executes. Raises Denied (root), Unreachable."""
        _refuse_root(request)
        try:
            await call(self.command(request), request, "see journalctl, and whether systemd-run works on this node")
        except Unreachable:
            # There already: a start is repeated after a crash of the agent, and one run has one supervisor.
            if not await _is_active(unit_name(request)):
                raise

    def command(self, request: RunRequest) -> tuple[str, ...]:
        """The command line of systemd-run."""
        options = (
            "systemd-run",
            "--quiet",
            "--no-ask-password",
            "--collect",  # a failed unit leaves nothing behind: the run's folder has it all
            "--service-type=exec",  # started only when the program could be executed
            f"--unit={unit_name(request)}",
            f"--description=Heliotrope job {request.job_id}",
            f"--slice={SLICE}",
        )
        properties = (*_SANDBOX, *limits(request), *self._devices(request), *self._view(request), *_streams(request))
        # systemd puts variables into a command line; a path may hold a dollar of its own.
        command = (self._python, *SUPERVISOR, request.run_dir)
        return (
            *options,
            *(f"--property={each}" for each in properties),
            "--",
            *(word.replace("$", "$$") for word in command),
        )

    def _devices(self, request: RunRequest) -> Iterator[str]:
        for rule in (*devices.rules(request.gpu_uuids), *(f"{name} rw" for name in self._extra_devices)):
            yield f"DeviceAllow={rule}"

    def _view(self, request: RunRequest) -> Iterator[str]:
        """An empty folder over each hidden one, what is the job's own put back: jobs of one account are strangers."""
        own = Path(request.run_dir).parent
        own = own.parent if own.name == runfolder.RUNS else own  # jobs/JOB/runs/E-A, or jobs/JOB/prepare
        for folder in self._hidden:
            yield f"TemporaryFileSystem={_quoted(folder)}:mode=0711"
            if own.is_relative_to(folder):
                yield f"BindPaths={_quoted(own)}"
            start = Path(request.resume_from) if request.resume_from else None
            if start is not None and start.is_relative_to(folder) and not start.is_relative_to(own):
                # The pin around it: its name is the agent's, that of the checkpoint in it the job's.
                yield f"BindReadOnlyPaths={_quoted(folder / start.relative_to(folder).parts[0])}"


def _quoted(path: Path) -> str:
    """As systemd reads a path among several: no blank ends it."""
    return f'"{path}"' if " " in str(path) else str(path)


def unit_name(request: RunRequest) -> str:
    """``heliotrope-job-JOB-EPOCH-ATTEMPT.service``, after the run's folder: as unique on a node as that is."""
    return f"heliotrope-job-{request.job_id}-{Path(request.run_dir).name}.service"


def limits(request: RunRequest) -> Iterator[str]:
    """What of the job's resources systemd enforces, and the time that a stop may take. Pure."""
    yield f"TimeoutStopSec={request.grace_s + _KILL_MARGIN_S:.0f}s"
    if request.memory_bytes:
        yield f"MemoryMax={request.memory_bytes}"
    if request.task_count_limit:
        yield f"TasksMax={request.task_count_limit}"
    if request.cpu_count:
        # A share and no ceiling: CPUs that nobody else wants are the job's.
        yield f"CPUWeight={min(10_000, _CPU_WEIGHT * request.cpu_count)}"


def _streams(request: RunRequest) -> Iterator[str]:
    log = Path(request.run_dir) / runfolder.SUPERVISOR_LOG
    yield f"StandardOutput=append:{log}"
    yield f"StandardError=append:{log}"


def _refuse_root(request: RunRequest) -> None:
    """Raises Denied. An account that does not exist is the supervisor's to report, with the run's other failures."""
    try:
        uid = pwd.getpwnam(request.user).pw_uid if request.user else os.geteuid()
    except KeyError:
        return
    if uid == 0:
        raise Denied(
            f"cannot start job {request.job_id!r}: it would run as root; name an ordinary account in the job file, or "
            "as user in [jobs] of the agent's configuration"
        )


async def _is_active(unit: str) -> bool:
    process = await asyncio.create_subprocess_exec(
        "systemctl", "is-active", "--quiet", unit, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
    )
    return await process.wait() == 0
