"""Who owns which process, and how much CPU time each owner's process tree used between two scans.

The kernel keeps a process's CPU time while it lives and adds it to its parent's "children" counters when the parent
reaps it. So an owner's use is: what its live processes ran, plus what live parents inherited from children that ended
in between, less what was counted for those children before. Nothing short-lived is missed as long as its parent waits
for it.

Fields of /proc/PID/stat after proc(5). ``proc_root`` is a parameter, so that a written tree can stand in.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

OTHER = "?"  # the agent itself and whatever belongs to no job


class Process(msgspec.Struct, frozen=True, gc=False):
    """One line of the process table. ``own_s`` and ``reaped_s`` are CPU seconds, ``start_ticks`` tells a reused pid."""

    pid: int
    parent_pid: int
    session_id: int
    start_ticks: int
    own_s: float
    reaped_s: float

    @property
    def total_s(self) -> float:
        return self.own_s + self.reaped_s


Table = dict[int, Process]

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_ENDED_SCANS = 10  # for how many scans an ended process is still known


def read_table(proc_root: Path = Path("/proc")) -> Table:
    """All processes; those that end while being read are left out."""
    table: Table = {}
    root = os.fspath(proc_root)
    for name in os.listdir(root):  # noqa: PTH208 - a thousand entries a second: no Path objects
        if not name.isdigit():
            continue
        try:
            with open(f"{root}/{name}/stat", "rb", buffering=0) as file:
                process = parse_stat(file.read(1024))
        except OSError:
            continue
        table[process.pid] = process
    return table


def parse_stat(line: bytes) -> Process:
    """One /proc/PID/stat; the command in parentheses may itself contain spaces and parentheses."""
    head, _, tail = line.rpartition(b")")
    fields = tail.split()
    return Process(
        int(head.split(b" ", 1)[0]),
        int(fields[1]),
        int(fields[3]),
        int(fields[19]),
        (int(fields[11]) + int(fields[12])) / _TICKS_PER_S,
        (int(fields[13]) + int(fields[14])) / _TICKS_PER_S,
    )


class ProcessTrees:
    """Owners' CPU time from successive process tables."""

    def __init__(self) -> None:
        self._table: Table = {}
        self._owners: dict[int, str] = {}
        self._sessions: dict[int, str] = {}
        self._ended: dict[int, tuple[str, int]] = {}
        self._idle_since_ticks: int | None = None

    def owner(self, pid: int) -> str | None:
        """The owner at the last scan, or before its end where it ended lately; None for one that was never seen."""
        if pid not in self._table:
            return self._ended[pid][0] if pid in self._ended else None
        return self._owners.get(pid, OTHER)

    def forget(self) -> None:
        """There is no job now, so nobody scans: what the next :meth:`update` finds to be younger than this is new."""
        self._table, self._owners, self._sessions, self._ended = {}, {}, {}, {}
        self._idle_since_ticks = int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_PER_S)

    def update(self, table: Table, roots: Mapping[str, Sequence[int]]) -> dict[str, float]:
        """Take the next scan; CPU seconds per owner since the last one (nothing on the first).

        ``roots`` maps an owner to the processes that start its tree. The nearest root above a process owns it.
        """
        before, owners_before = self._table, self._owners
        owners = self._find_owners(table, roots)
        if before:
            used_s = _used(before, table, owners_before, owners)
        elif self._idle_since_ticks is not None:
            young = {pid: one for pid, one in table.items() if one.start_ticks >= self._idle_since_ticks}
            used_s = _used({}, young, {}, owners)
        else:
            used_s = {}
        self._remember_ended(table)
        self._table, self._owners, self._idle_since_ticks = table, owners, None
        self._sessions = {
            process.session_id: owners[process.pid]
            for process in table.values()
            if process.pid in owners and self._is_own_session(process, owners)
        }
        return used_s

    def _remember_ended(self, table: Table) -> None:
        """A driver may name a process some seconds after its end."""
        ended = {pid: (owner, turns - 1) for pid, (owner, turns) in self._ended.items() if turns > 1}
        gone = self._owners.keys() - table.keys()
        self._ended = ended | {pid: (self._owners[pid], _ENDED_SCANS) for pid in gone if self._owners[pid] != OTHER}

    def _is_own_session(self, process: Process, owners: Mapping[int, str]) -> bool:
        """Whether the session began inside the owner's tree: its leader is of it, or it was known to be."""
        owner = owners[process.pid]
        sid = process.session_id
        return owner != OTHER and (owners.get(sid) == owner or self._sessions.get(sid) == owner)

    def _find_owners(self, table: Table, roots: Mapping[str, Sequence[int]]) -> dict[int, str]:
        root_owners = {pid: owner for owner, pids in roots.items() for pid in pids}
        owners: dict[int, str] = {}
        for process in table.values():
            owner = _above(process, table, root_owners)
            # A process whose parent ended hangs under init, a subreaper or the agent: what it was before still holds.
            if owner is None or owner == OTHER:
                owner = self._known(process) or owner
            if owner is not None:
                owners[process.pid] = owner
        return owners

    def _known(self, process: Process) -> str | None:
        known = self._table.get(process.pid)
        if known is not None and known.start_ticks == process.start_ticks:
            owner = self._owners.get(process.pid)
            if owner is not None and owner != OTHER:
                return owner
        return self._sessions.get(process.session_id)


def _above(process: Process, table: Table, root_owners: Mapping[int, str]) -> str | None:
    """The owner of the nearest root at or above a process."""
    current: Process | None = process
    for _ in range(256):  # a table read while processes move may, once in a blue moon, contain a cycle
        if current is None:
            return None
        if current.pid in root_owners:
            return root_owners[current.pid]
        current = table.get(current.parent_pid)
    return None


def _used(before: Table, now: Table, owners_before: Mapping[int, str], owners: Mapping[int, str]) -> dict[str, float]:
    ended = _ended_below(before, now)
    used_s: dict[str, float] = {}

    def book(owner: str | None, seconds: float) -> None:
        if owner is not None and seconds > 0:
            used_s[owner] = used_s.get(owner, 0.0) + seconds

    for pid, process in now.items():
        old = before.get(pid)
        if old is None or old.start_ticks != process.start_ticks:
            book(owners.get(pid), process.total_s)  # began since the last scan: all of it is new
            continue
        book(owners.get(pid), process.own_s - old.own_s)
        inherited_s = process.reaped_s - old.reaped_s
        if inherited_s > 0:
            children = ended.get(pid, [])
            inherited_s -= sum(child.total_s for child in children)
            largest = max(children, key=lambda child: child.total_s, default=None)
            book(owners_before.get(largest.pid) if largest else owners.get(pid), inherited_s)
    return used_s


def _ended_below(before: Table, now: Table) -> dict[int, list[Process]]:
    """Live process -> the ones below it that ended since the last scan (through ended ones between them)."""
    ended: dict[int, list[Process]] = {}

    def is_alive(pid: int) -> bool:
        return pid in now and pid in before and now[pid].start_ticks == before[pid].start_ticks

    for pid, process in before.items():
        if is_alive(pid):
            continue
        ancestor = process.parent_pid
        for _ in range(256):
            if is_alive(ancestor) or ancestor not in before:
                break
            ancestor = before[ancestor].parent_pid
        ended.setdefault(ancestor, []).append(process)
    return ended
