"""CPU time of jobs that systemd runs: each has a control group of its own, and the kernel counts for it.

That is exact where a process tree is not: a process that nobody waited for, and one that left the tree, count too.
``cpu.stat`` with ``usage_usec`` is in every group of version 2, the cpu controller enabled or not (kernel:
Documentation/admin-guide/cgroup-v2.rst).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
_OWN = "heliotrope-job-"  # agent/jobs/systemd_launcher.py names the units so


class JobGroups:
    """What each job's group used between two calls."""

    def __init__(self, proc_root: Path, cgroup_root: Path = CGROUP_ROOT) -> None:
        self._proc_root = proc_root
        self._cgroup_root = cgroup_root
        self._seen: dict[str, tuple[Path, float]] = {}

    def used_s(self, roots: Mapping[str, Sequence[int]]) -> dict[str, float]:
        """CPU seconds since the last call, of the jobs that have a group of their own and had it then, too."""
        seen = {job: found for job, pids in roots.items() if pids and (found := self._look(pids[0])) is not None}
        used_s = {}
        for job, (group, total_s) in seen.items():
            before = self._seen.get(job)
            if before is not None and before[0] == group:
                used_s[job] = max(0.0, total_s - before[1])
        self._seen = seen
        return used_s

    def _look(self, pid: int) -> tuple[Path, float] | None:
        """The group of a job's supervisor and its CPU seconds so far; None where it shares a group with others."""
        try:
            lines = (self._proc_root / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines()
            name = next(line.removeprefix("0::") for line in lines if line.startswith("0::"))
            if not name.rpartition("/")[2].startswith(_OWN):
                return None
            group = self._cgroup_root / name.lstrip("/")
            for line in (group / "cpu.stat").read_text(encoding="ascii").splitlines():
                key, _, value = line.partition(" ")
                if key == "usage_usec":
                    return group, int(value) / 1e6
        except (OSError, StopIteration, ValueError):
            return None  # it ended meanwhile, or this machine has no such hierarchy: the process tree tells then
        return None
