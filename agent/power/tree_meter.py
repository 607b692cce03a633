"""CPU time per job, by control group or process tree, scanned often enough to be true and seldom enough to be cheap."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .cgroups import CGROUP_ROOT, JobGroups
from .processes import OTHER, ProcessTrees, read_table
from .sources.model import host_busy_s

PERIOD_S = 1.0
_COST_RATIO = 0.001  # of one core: on a node with thousands of processes the scans grow rarer, not dearer
_FRESH_S = 0.2


class TreeMeter:
    """``counts_host``: what runs outside all trees counts as "?" too; without it only the jobs and the agent count."""

    def __init__(
        self,
        roots: Callable[[], Mapping[str, Sequence[int]]],
        proc_root: Path,
        *,
        counts_host: bool,
        host_busy: Callable[[], float] = host_busy_s,
        cgroup_root: Path = CGROUP_ROOT,
    ) -> None:
        self.counts_host = counts_host
        self._groups = JobGroups(proc_root, cgroup_root)
        self.grouped: frozenset[str] = frozenset()  # the jobs whose control group told their time in the last scan
        self.jobs: tuple[str, ...] = ()
        self._roots = roots
        self._proc_root = proc_root
        self._host_busy = host_busy
        self._host_s: float | None = None
        self._trees = ProcessTrees()
        self._pending_s: dict[str, float] = {}
        self._busy_s = 0.0
        self._scanned_s: float | None = None
        self._due_s = 0.0

    def is_due(self, now_s: float) -> bool:
        return now_s >= self._due_s

    def wait_s(self, now_s: float) -> float:
        return max(0.0, self._due_s - now_s)

    def busy_s(self) -> float:
        """CPU seconds of all trees together, since the first scan."""
        return self._busy_s

    def scan(self, now_s: float) -> dict[str, float]:
        """CPU seconds per owner since the last call of this."""
        self._update(now_s)
        used_s, self._pending_s = self._pending_s, {}
        if self.counts_host:
            used_s[OTHER] = self._host_rest(used_s)
        return used_s

    def owner(self, pid: int) -> str:
        """The job of a process, "?" for none; one that is younger than the last scan is looked for again."""
        found = self._trees.owner(pid)
        if found is None and self._scanned_s is not None and time.monotonic() - self._scanned_s > _FRESH_S:
            self._update(time.monotonic())
            found = self._trees.owner(pid)
        return found or OTHER

    def _update(self, now_s: float) -> None:
        began_s = time.thread_time()
        roots = {job: pids for job, pids in self._roots().items() if job != OTHER}
        self.jobs = tuple(sorted(roots))
        if not roots and self.counts_host:
            self._trees.forget()  # all of the host's use is nobody's: its total tells that
            used_s: dict[str, float] = {}
        else:
            used_s = self._trees.update(read_table(self._proc_root), {**roots, OTHER: [os.getpid()]})
        in_groups_s = self._groups.used_s(roots)
        self.grouped = frozenset(in_groups_s)
        used_s |= in_groups_s
        for owner, seconds in used_s.items():
            self._pending_s[owner] = self._pending_s.get(owner, 0.0) + seconds
            self._busy_s += seconds
        cost_s = time.thread_time() - began_s
        self._scanned_s = now_s
        self._due_s = now_s + max(PERIOD_S, cost_s / _COST_RATIO)

    def _host_rest(self, used_s: Mapping[str, float]) -> float:
        """What the host's processors did that no job did."""
        before_s, self._host_s = self._host_s, self._host_busy()
        if before_s is None:
            return 0.0
        return max(0.0, self._host_s - before_s - sum(s for owner, s in used_s.items() if owner != OTHER))
