# The supervisor starts in milliseconds, so no pathlib here.
# ruff: noqa: PTH103, PTH108, PTH118
"""Starts the job's own process as its own user, in its own session (standard library only)."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal

from . import kernel
from .runfolder import JOB_SOCKET, Parameters

READY_FILE = ".heliotrope-ready"  # in the checkpoint folder; a job without the socket writes its pid there
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OOM_SCORE = b"500"  # the kernel ends the job before the daemons that look after it


class Account:
    """The local user a job runs as."""

    def __init__(self, name: str, uid: int, gid: int, home: str, shell: str) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.home = home
        self.shell = shell


def account(parameters: Parameters) -> Account:
    """Who the job runs as. Raises PermissionError when that would be the daemon's own user, or root, unallowed."""
    try:
        entry = pwd.getpwnam(parameters.user) if parameters.user else pwd.getpwuid(os.getuid())
    except KeyError as error:
        raise PermissionError(f"user {parameters.user or os.getuid()}: no such account; create it") from error
    found = Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell)
    if found.uid in (0, os.getuid()) and not parameters.allow_same_user:
        raise PermissionError(
            f"user {found.name!r}: jobs never run as root or as the daemon's own user; "
            "name another account, or set allow_same_user on a node made for trying out"
        )
    if found.uid != os.getuid() and os.getuid() != 0:
        raise PermissionError(f"user {found.name!r}: only a daemon started as root can change user; start it so")
    return found


def environment(parameters: Parameters, folder: str, who: Account) -> dict[str, str]:
    """The job's whole environment: nothing of the daemon's own is in it."""
    given = parameters.environment
    path = [parameters.pythonpath_dir, given.get("PYTHONPATH", "")]
    base = {"PATH": _PATH, "LANG": "C.UTF-8", "HOME": who.home, "USER": who.name, "LOGNAME": who.name}
    contract = {
        "HELIOTROPE_JOB_ID": parameters.job_id,
        "HELIOTROPE_EPOCH": str(parameters.epoch),
        "HELIOTROPE_CHECKPOINT_DIR": parameters.checkpoint_dir,
        "HELIOTROPE_RESUME_FROM": parameters.resume_from,
        "HELIOTROPE_SOCKET": os.path.join(folder, JOB_SOCKET),
        "HELIOTROPE_KEEP_COUNT": str(parameters.keep_count),
        "HELIOTROPE_STOPPED_CODE": str(stopped_code(parameters.stopped_codes)),
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "CUDA_VISIBLE_DEVICES": ",".join(parameters.gpu_uuids),  # empty hides every GPU
    }
    if parameters.request_mode == "signal":
        contract["HELIOTROPE_REQUEST_SIGNAL"] = parameters.signal
    return {**base, "SHELL": who.shell, **given, **contract}


def stopped_code(codes: list[int]) -> int:
    """The code heliotrope.job leaves with: 75 where the job file knows it, else the first it names."""
    return 75 if 75 in codes or not codes else codes[0]


def start(parameters: Parameters, folder: str, who: Account, stdout: int, stderr: int) -> int:
    """Fork and execute the command. Returns its pid once it executes; raises OSError with the cause if it cannot."""
    variables = environment(parameters, folder, who)
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            _become(parameters, who, stdout, stderr)
            os.execvpe(parameters.command[0], parameters.command, variables)
        except BaseException as error:  # noqa: BLE001 - this process must not return into the supervisor's loop
            with contextlib.suppress(OSError):
                os.write(write_end, str(error).encode())
        finally:
            os._exit(127)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        cause = pipe.read().decode(errors="replace")
    if cause:
        os.waitpid(pid, 0)
        raise OSError(f"cannot start {parameters.command[0]!r} in {parameters.working_dir}: {cause}")
    return pid


def _become(parameters: Parameters, who: Account, stdout: int, stderr: int) -> None:
    """Between fork and exec: session, streams, user, folder, signals as a fresh program expects them."""
    supervisor_pid = os.getppid()
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb") as file:
        file.write(_OOM_SCORE)
    if who.uid != os.getuid():
        os.setgroups(os.getgrouplist(who.name, who.gid))
        os.setgid(who.gid)
        os.setuid(who.uid)
    kernel.die_with_parent()  # after setuid, which clears it
    if os.getppid() != supervisor_pid:
        raise OSError("the supervisor is gone")
    os.umask(0o022)
    os.chdir(parameters.working_dir)
    os.makedirs(parameters.checkpoint_dir, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(parameters.checkpoint_dir, READY_FILE))  # an earlier run's
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
