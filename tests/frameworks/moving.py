"""Moves a PyTorch job while it trains, and compares it with a run that nobody touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from fleet_driver import Operator, two_nodes

from heliotrope.foundation.jobspec import CheckpointRules, JobSpec, Policy
from heliotrope.v1 import common_pb2
from heliotrope.v1 import operator_pb2 as pb

Truth: TypeAlias = Callable[..., str]

RUNNING = common_pb2.JobState.JOB_STATE_RUNNING
FINISHED = common_pb2.JobState.JOB_STATE_FINISHED
# Importing torch takes seconds, and many on a busy machine. Nodes keep what they sent: a job may come back to it.
SAGA = {"starting_timeout_s": 90.0, "staging_timeout_s": 60.0, "retention_s": 300.0}
END_TIMEOUT_S = 150.0
PACE = ("--step-s", "0.1")


def torch_spec(*command: str, rules: Mapping[str, Any] | None = None, **policy: Any) -> JobSpec:
    """A job first placed at ``a``; the interpreter is named by its path, the same on both nodes of this machine."""
    return JobSpec(
        name="tiny",
        command=command,
        outputs=("result.json",),
        checkpoint=CheckpointRules(**{"timeout_s": 40.0, **(rules or {})}),
        policy=Policy(**{"sites_preferred": ("west",), "grace_s": 10.0, **policy}),
    )


@contextmanager
def running(folder: Path, spec: JobSpec, files: Mapping[str, bytes]) -> Iterator[Operator]:
    """The fleet up, the job submitted."""
    with two_nodes(folder, saga=SAGA) as fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.nodes_connected()
        operator.submit(spec, files)
        yield operator


def saved(operator: Operator, step: int) -> None:
    """Wait until the running job has a checkpoint of ``step`` or later: what a job that reports nothing shows."""

    def found() -> bool | None:
        job = operator.job()
        return True if job.state == RUNNING and job.checkpoint.step >= step else None

    operator.until(found, f"a checkpoint of step {step}")


def moved(operator: Operator, destination: str) -> pb.Migration:
    """Move the job; it runs there on return."""
    migration_id = operator.move(destination)
    assert operator.migration_ended(migration_id) == "COMMITTED", operator.story()
    return operator.migration(migration_id)


def finished(operator: Operator, node: str, epoch: int) -> None:
    """Wait for the end: a success at ``node``, in ``epoch``, without a restart on the way."""

    def ended() -> pb.Job | None:
        job = operator.job()
        return job if job.state in (FINISHED, common_pb2.JobState.JOB_STATE_FAILED) else None

    job = operator.until(ended, "the job's end", END_TIMEOUT_S)
    assert (job.state, job.node_id, job.epoch, job.restart_count) == (FINISHED, node, epoch, 0), operator.story()
