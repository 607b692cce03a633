"""The job of the partition tests and what it wrote down: who ran it when."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet_driver import TINY_JOB, Operator

from heliotrope.examples.tiny_job import State
from heliotrope.foundation.jobspec import CheckpointRules, JobSpec, Policy
from heliotrope.v1 import common_pb2
from heliotrope.v1 import operator_pb2 as pb

WITNESS = Path(__file__).with_name("witness.py")
STEP_S = 0.05
STATE_KB = 64
LEASE_S = 5.0


@dataclass(frozen=True)
class Entry:
    """One step of one run; ``boottime_s`` is one clock for all, as all nodes are this machine."""

    boottime_s: float
    epoch: int
    node: str
    step: int


class Witness:
    """A job of ``steps`` steps, and its record."""

    def __init__(self, folder: Path, steps: int, *, state_kb: int = STATE_KB) -> None:
        self._path = folder / "witness.txt"
        self._folder = folder
        self._steps = steps
        self._state_kb = state_kb

    def submit(self, operator: Operator, *, replicate_every: str = "1s", **policy: Any) -> str:
        """Placed at ``a``; its replicas lie at ``b``. The job's id."""
        arguments = ("--steps", str(self._steps), "--step-s", str(STEP_S), "--state-kb", str(self._state_kb))
        spec = JobSpec(
            name="tiny",
            command=(sys.executable, "witness.py", str(self._path), *arguments, "--checkpoint-every", "10"),
            outputs=("result.json",),
            checkpoint=CheckpointRules(timeout_s=15.0, replicate_every=replicate_every),
            policy=Policy(**{"sites_preferred": ("west",), "grace_s": 0.5, "lease_s": LEASE_S, **policy}),
        )
        files = {"witness.py": WITNESS.read_bytes(), "tiny_job.py": TINY_JOB.read_bytes()}
        return operator.submit(spec, files)

    def entries(self) -> list[Entry]:
        """In the order of their moments."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        found = [line.split(" ") for line in lines]
        entries = [Entry(float(at), int(epoch), self._node(Path(where)), int(step)) for at, epoch, where, step in found]
        return sorted(entries, key=lambda entry: entry.boottime_s)

    def newest(self, node: str) -> Entry | None:
        return next((entry for entry in reversed(self.entries()) if entry.node == node), None)

    def at_most_one_runner(self) -> None:
        """Once a run made a step, no run of an older epoch ever makes one again."""
        epochs = [entry.epoch for entry in self.entries()]
        assert epochs == sorted(epochs), "two runs of the job were alive at once"

    def nothing_was_skipped(self) -> None:
        """Each run begins where a checkpoint of an earlier one was, and goes on step by step."""
        entries = self.entries()
        for before, after in itertools.pairwise(entries):
            assert after.step == before.step + 1 or (after.epoch > before.epoch and after.step <= before.step + 1)
        assert entries[-1].step == self._steps

    def digest(self) -> str:
        """Of an uninterrupted run."""
        state = State(self._state_kb, 1)
        for _ in range(self._steps):
            state.advance()
        return state.digest()

    def _node(self, where: Path) -> str:
        return where.relative_to(self._folder.resolve()).parts[0]


def replica_at(operator: Operator, node: str) -> pb.Replica:
    """Wait for a verified replica there."""

    def verified() -> pb.Replica | None:
        found = [one for one in operator.job().replicas if one.node_id == node and one.HasField("checkpoint")]
        return found[0] if found else None

    return operator.until(verified, f"a replica at {node}", 40)


def running_at(operator: Operator, node: str, epoch: int) -> pb.Job:
    """Wait until the job runs there."""

    def there() -> pb.Job | None:
        job = operator.job()
        return job if (job.node_id, job.epoch) == (node, epoch) and job.progress.step > 0 and _runs(job) else None

    return operator.until(there, f"the job at {node} under epoch {epoch}", 60)


def connected(operator: Operator, node: str, wanted: bool) -> None:
    """Wait until the coordinator sees the node as connected, or not."""

    def is_so() -> bool | None:
        nodes = operator.stub.GetFleet(pb.GetFleetRequest(), timeout=5).nodes
        return True if any(one.node_id == node and one.connected is wanted for one in nodes) else None

    operator.until(is_so, f"node {node} {'connected' if wanted else 'away'}", 60)


def cleaned(operator: Operator, folder: Path, node: str) -> None:
    """Wait until nothing of the job lies at the node."""
    jobs, received = folder / node / "jobs", folder / node / "checkpoints"
    operator.until(
        lambda: True if not any(jobs.iterdir()) and not any(received.iterdir()) else None, f"a clean {node}", 60
    )


def _runs(job: pb.Job) -> bool:
    return job.state == common_pb2.JobState.JOB_STATE_RUNNING
