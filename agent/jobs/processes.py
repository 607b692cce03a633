# The supervisor starts in milliseconds, so no pathlib here.
# ruff: noqa: PTH208
"""Processes by (boot id, pid, start time), read from /proc (standard library only; supervisor and agent share it).

A pid alone names nobody for long; with the start time in clock ticks since boot and the boot's id it does for good.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable


class Process:
    """One line of /proc/PID/stat: who it is, whose child, in which session."""

    __slots__ = ("pid", "ppid", "session", "start_ticks", "state")

    def __init__(self, pid: int, state: str, ppid: int, session: int, start_ticks: int) -> None:
        self.pid = pid
        self.state = state
        self.ppid = ppid
        self.session = session
        self.start_ticks = start_ticks

    @property
    def alive(self) -> bool:
        """Whether it can still do anything: a zombie cannot."""
        return self.state not in "ZXx"


def read(pid: int) -> Process | None:
    """What /proc says about ``pid``; None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    # the name in parentheses may hold anything, also ") R 1"
    fields = text[text.rindex(b")") + 2 :].split()
    return Process(pid, fields[0].decode(), int(fields[1]), int(fields[3]), int(fields[19]))


def everyone() -> list[Process]:
    """All processes seen in one walk over /proc."""
    found = (read(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [process for process in found if process is not None]


def is_alive(pid: int, start_ticks: int) -> bool:
    """Whether exactly this process (not a later one with the same pid) still runs."""
    process = read(pid)
    return process is not None and process.start_ticks == start_ticks and process.alive


def descendants(root_pid: int) -> list[Process]:
    """The living children of ``root_pid``, their children and so on, parents first; without the root."""
    children: dict[int, list[Process]] = {}
    for process in everyone():
        children.setdefault(process.ppid, []).append(process)
    found: list[Process] = []
    queue = [root_pid]
    while queue:
        below = children.get(queue.pop(0), [])
        found += below
        queue += [process.pid for process in below]
    return [process for process in found if process.alive]


def marked(entry: str) -> list[Process]:
    """The living processes whose environment holds ``entry`` ("NAME=value"), as far as this user may read it."""
    wanted = entry.encode()
    found = []
    for process in everyone():
        try:
            with open(f"/proc/{process.pid}/environ", "rb") as file:
                environment = file.read()
        except OSError:
            continue  # another user's, or gone meanwhile
        if process.alive and wanted in environment.split(b"\0"):
            found.append(process)
    return found


def send_signal(process: Process, number: int) -> bool:
    """Signal exactly this process; False when it is gone or may not be signalled."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        if not is_alive(process.pid, process.start_ticks):
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def kill_all(found: Iterable[Process]) -> None:
    """SIGKILL each; a process that forks meanwhile is caught by the caller's next walk."""
    for process in found:
        send_signal(process, signal.SIGKILL)


def catches(pid: int, number: int) -> bool:
    """Whether the process has a handler for that signal: without one SIGUSR1 and its like would kill it."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return False
    caught = next((line for line in lines if line.startswith(b"SigCgt:")), b"SigCgt:\t0")
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def boot_id() -> str:
    """The kernel's random id of this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def oom_kill_count() -> int:
    """How many processes the kernel's out-of-memory killer ended since boot; 0 where it does not count."""
    try:
        with open("/proc/vmstat", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(b"oom_kill ")), 0)


def limit_oom_count(cgroup_root: str = "/sys/fs/cgroup") -> int:
    """How often this process's own control group came to its memory limit; 0 where there is none to ask."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            group = next(line[3:].strip() for line in file if line.startswith("0::"))
        with open(f"{cgroup_root}{group}/memory.events", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("oom "))
    except (OSError, StopIteration):
        return 0
