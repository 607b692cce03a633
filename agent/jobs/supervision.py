# The supervisor starts in milliseconds, so no pathlib here.
# ruff: noqa: PTH100, PTH101, PTH110, PTH118
"""One run of one job, looked after by its own process (standard library only, lean: it lives as long as the job).

    run.json -> start the job -> logs, sockets, lease -> the job ends or must -> nothing of it is left -> status.json

Two processes: the *guard* waits for the *supervisor* and, should that be killed, kills every process of the job at
once: a job without a supervisor would outlive its lease. Both are subreapers, so no orphan escapes the tree.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import signal
import sys
import time
from typing import Any

from . import kernel, processes, spawn
from .control import Control
from .job_channel import JobChannel
from .kernel import boottime_s
from .lease import Lease
from .lines import LineServer, listen
from .loop import Loop
from .runfolder import (
    CONTROL_SOCKET,
    EVENTS,
    JOB_SOCKET,
    LOCK,
    STATUS,
    STDERR,
    STDOUT,
    SUPERVISOR_LOG,
    VERSION,
    EventLog,
    Parameters,
    replace_file,
    utc_now,
)
from .runlog import OutputLog

_LEFTOVER_GRACE_S = 2.0  # for processes that outlive the job's own one, after SIGTERM
_SWEEP_S = 0.05  # between two looks whether everything is gone, at first
_RETRY_S = 1.0
CAUSES = ("lease", "stop", "kill", "shutdown", "limit")  # why the supervisor ended the job


class Supervisor:
    """Starts the job, serves its run, and ends when no process of it is left."""

    def __init__(self, folder: str, parameters: Parameters) -> None:
        self.parameters = parameters
        self.cause = ""  # one of CAUSES once the supervisor itself ends the job
        self._folder = folder
        self._loop = Loop()
        self._events = EventLog(os.path.join(folder, EVENTS))
        self.channel = JobChannel(self._loop, folder, parameters, self._events)
        self.lease = Lease(self._loop, parameters.grace_s, lambda: self.terminate("lease", self.lease.grace_s))
        self._job_pid = 0
        self._kill_at_s = math.inf
        self._sweep_s = _SWEEP_S
        self._wait_status: int | None = None
        self._oom_before_count = processes.oom_kill_count()
        self._limit_oom_before_count = processes.limit_oom_count()
        me = processes.read(os.getpid())
        self.status: dict[str, Any] = {
            "version": VERSION,
            "job_id": parameters.job_id,
            "epoch": parameters.epoch,
            "attempt": parameters.attempt,
            "boot_id": processes.boot_id(),
            "supervisor_pid": os.getpid(),
            "supervisor_start_ticks": me.start_ticks if me else 0,
            "job_pid": 0,
            "job_start_ticks": 0,
            "state": "starting",
            "reason": "",
            "cause": "",
            "exit_code": None,
            "signal": None,
            "error": "",
            "oom_kill_count": 0,
            "started_utc": utc_now(),
            "ended_utc": "",
        }

    def run(self) -> None:
        """Supervise from start to end."""
        if not self.save():
            return  # nothing starts that is not written down first
        self._watch_signals()
        who = None
        try:
            self._refuse_another_boot()
            who = spawn.account(self.parameters)
            self._open_sockets(who)
            self._start(who)
        except (OSError, ValueError) as error:
            self._never_started(str(error))
            return
        self.lease.renew(self.parameters.lease_deadline_boottime_s)
        self._loop.run()
        self._end()

    def save(self) -> bool:
        """Write status.json durably; on a full disk say so and try again in a second, the job goes on."""
        try:
            replace_file(os.path.join(self._folder, STATUS), self.status, durable=True)
        except OSError as error:
            with contextlib.suppress(OSError):  # the supervisor's log is on that disk too
                print(f"cannot write {self._folder}/{STATUS}: {error}; make room there", file=sys.stderr, flush=True)
            self._loop.at("save", boottime_s() + _RETRY_S, self._save_again)
            return False
        self._loop.cancel("save")
        return True

    def terminate(self, cause: str, grace_s: float, error: str = "") -> None:
        """End the job: SIGTERM to its own process, after ``grace_s`` SIGKILL to all; a later call can only hurry.

        ``error``: which limit it passed, with the cause "limit".
        """
        kill_at_s = boottime_s() + grace_s
        if not self.cause:
            self.cause = self.status["cause"] = cause
            self.status.update(state="stopping", error=error)
            self.save()
            self._events.add("stopping", cause=cause, grace_s=grace_s)
            self._signal_job(signal.SIGTERM)
        self._kill_at_s = min(self._kill_at_s, kill_at_s)
        self._loop.at("kill", self._kill_at_s, self._kill)

    def _save_again(self) -> None:
        self.save()

    def _refuse_another_boot(self) -> None:
        if self.parameters.boot_id != self.status["boot_id"]:
            raise ValueError("run.json was written before the machine's last boot: its lease means nothing now")

    def _watch_signals(self) -> None:
        read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        self._signals = read_end
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        self._loop.watch(read_end, self._on_signals)

    def _on_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            if signal.SIGTERM in os.read(self._signals, 4096):  # the machine goes down, or a service manager stops us
                self.terminate("shutdown", self.parameters.grace_s)
        self._reap()

    def _open_sockets(self, who: spawn.Account) -> None:
        ours = os.getuid()
        os.chmod(self._folder, 0o700 if who.uid == ours else 0o711)  # the job must reach its socket, and see no more
        job = listen(
            os.path.join(self._folder, JOB_SOCKET), mode=0o600, owner=None if who.uid == ours else (who.uid, who.gid)
        )
        self.channel.server = LineServer(self._loop, job, frozenset({who.uid, 0}), self.channel.handle)
        control = listen(os.path.join(self._folder, CONTROL_SOCKET), mode=0o600)
        self._control = LineServer(self._loop, control, frozenset({ours, 0}), Control(self).handle)

    def _start(self, who: spawn.Account) -> None:
        limit_bytes = self.parameters.log_limit_bytes // 2
        self._logs = [OutputLog(self._loop, os.path.join(self._folder, name), limit_bytes) for name in (STDOUT, STDERR)]
        stdout, stderr = (log.write_end for log in self._logs)
        self._job_pid = spawn.start(self.parameters, self._folder, who, stdout, stderr)
        for log in self._logs:
            log.started()
        job = processes.read(self._job_pid)
        self.status.update(
            state="running", job_pid=self._job_pid, job_start_ticks=job.start_ticks if job else 0, started_utc=utc_now()
        )
        self.channel.started(self._job_pid)
        self._events.add("started", job_pid=self._job_pid)
        self.save()

    def _never_started(self, error: str) -> None:
        self.status.update(state="ended", reason="failed", exit_code=127, error=error, ended_utc=utc_now())
        self._events.add("exit", reason="failed", exit_code=127, signal=None, error=error)
        self._save_at_last()

    def _signal_job(self, number: int) -> None:
        if self._wait_status is None and self._job_pid:
            with contextlib.suppress(OSError):  # not reaped, so the pid is still the job's
                os.kill(self._job_pid, number)

    def _reap(self) -> None:
        """Collect the dead, among them orphans that became ours."""
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == self._job_pid and self._wait_status is None:
                self._wait_status = wait_status
                self._end_leftovers()
        if self._wait_status is not None and not processes.descendants(os.getpid()):
            self._loop.stop()

    def _end_leftovers(self) -> None:
        """The job's own process is gone: whatever it left behind gets SIGTERM and little time."""
        left = processes.descendants(os.getpid())
        for process in left:
            processes.send_signal(process, signal.SIGTERM)
        kill_at_s = boottime_s() + min(_LEFTOVER_GRACE_S, self.parameters.grace_s)
        if left:
            self._loop.at("kill", min(kill_at_s, self._kill_at_s), self._kill)
            self._sweep()

    def _kill(self) -> None:
        """SIGKILL to every process of the job, again and again until none is left."""
        processes.kill_all(processes.descendants(os.getpid()))
        self._loop.at("kill", boottime_s() + self._wait_s(), self._kill)
        self._reap()

    def _sweep(self) -> None:
        self._loop.at("sweep", boottime_s() + self._wait_s(), self._sweep)
        self._reap()

    def _wait_s(self) -> float:
        """A process stuck in the kernel may take hours to go: look for it less and less often."""
        self._sweep_s = min(_RETRY_S, self._sweep_s * 1.1)
        return self._sweep_s

    def _end(self) -> None:
        """Nothing of the job runs any more: last words, logs, then the one durable verdict."""
        self.channel.finish()
        for log in self._logs:
            log.close()
        code = os.waitstatus_to_exitcode(self._wait_status or 0)
        exit_code, by_signal = (code, None) if code >= 0 else (None, -code)
        oom_kill_count = processes.oom_kill_count() - self._oom_before_count
        self._blame_memory(exit_code, by_signal)
        self.status.update(
            state="ended",
            reason=self._reason(exit_code),
            exit_code=exit_code,
            signal=by_signal,
            oom_kill_count=oom_kill_count,
            ended_utc=utc_now(),
        )
        self._events.add("exit", reason=self.status["reason"], exit_code=exit_code, signal=by_signal, error="")
        self._save_at_last()
        self._control.close()

    def _blame_memory(self, exit_code: int | None, by_signal: int | None) -> None:
        """Killed at the limit of its own control group: its own doing, not the node's."""
        was_killed = by_signal == signal.SIGKILL or exit_code == 128 + signal.SIGKILL
        limit_bytes = self.parameters.memory_bytes
        if was_killed and not self.cause and limit_bytes and processes.limit_oom_count() > self._limit_oom_before_count:
            text = f"it needed more memory than resources.memory_bytes = {limit_bytes}; raise it, or use less"
            self.cause = "limit"
            self.status.update(cause="limit", error=text)

    def _save_at_last(self) -> None:
        while not (self._events.flush() and self.save()):
            time.sleep(_RETRY_S)

    def _reason(self, exit_code: int | None) -> str:
        if exit_code == 0:
            return "finished"
        if self.cause == "limit":
            return "failed"  # also if it asks to be resumed: it would pass the limit again
        if exit_code in self.parameters.stopped_codes:
            return "stopped"
        if self.cause:
            return "lease_expired" if self.cause == "lease" else "killed"
        return "failed"


def guard(supervisor_pid: int) -> int:
    """Wait for the supervisor; if it was killed, kill everything it looked after. Returns the code to leave with.

    SIGTERM is passed on: systemd stops a job's service by sending it to this process alone. This one must be last.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    supervisor = os.pidfd_open(supervisor_pid)  # by handle: a signal after its end must not meet another process
    signal.signal(signal.SIGTERM, lambda *_: _pass_on(supervisor))
    wait_status = None
    while True:
        try:
            pid, status = os.waitpid(-1, 0 if wait_status is None else os.WNOHANG)
        except ChildProcessError:
            return os.waitstatus_to_exitcode(wait_status or 0) & 0xFF
        if pid == supervisor_pid:
            wait_status = status
        if wait_status is not None:
            processes.kill_all(processes.descendants(os.getpid()))
            if pid == 0:
                signal.sigtimedwait([signal.SIGCHLD], _SWEEP_S)


def _pass_on(supervisor: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(supervisor, signal.SIGTERM)


def supervise(folder: str) -> int:
    """Run the whole of it in the foreground; 0 when the run has its end in status.json (or had it before)."""
    lock = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0  # another supervisor has this run already
    if os.path.exists(os.path.join(folder, STATUS)):
        return 0  # it was started before: an attempt happens once
    parameters = Parameters(folder)
    kernel.become_subreaper()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])  # for the guard's sigtimedwait
    pid = os.fork()
    if pid != 0:
        return guard(pid)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    kernel.become_subreaper()
    Supervisor(folder, parameters).run()
    return 0


def detach(folder: str) -> bool:
    """Leave the caller's session and process tree; False in the process that is to return to the caller."""
    if os.fork() != 0:
        return False
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(os.path.join(folder, SUPERVISOR_LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    return True


def main(arguments: list[str]) -> int:
    """``supervisor [--detach] RUN_DIR``."""
    detached = "--detach" in arguments
    folders = [argument for argument in arguments if argument != "--detach"]
    if len(folders) != 1:
        print("usage: supervisor [--detach] RUN_DIR", file=sys.stderr)
        return 2
    folder = os.path.abspath(folders[0])
    if detached:
        if not detach(folder):
            return 0
        kernel.limit_processes(Parameters(folder).task_count_limit)  # inherited by the job; systemd has a better way
    return supervise(folder)
