"""Declared outputs go where their job goes: written before a move they are there after it, and back again."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import grpc
import pytest
from fleet_driver import Operator, two_nodes

from heliotrope.cli.demo.fleet import LocalFleet
from heliotrope.foundation.jobspec import CheckpointRules, JobSpec, Policy
from heliotrope.v1 import common_pb2
from heliotrope.v1 import operator_pb2 as pb

# Appends to a history that it never writes anew, and starts a file per epoch; its checkpoint holds nothing but a step.
JOB = """
import os, pathlib, time
import heliotrope.job as heliotrope_job
job = heliotrope_job.connect()
step = int((job.resume_from / "step").read_text()) if job.resume_from else 0
results = pathlib.Path("results/deep")
results.mkdir(parents=True, exist_ok=True)
(results / f"epoch-{job.epoch}").write_text(str(step))
if not (results / "newest").is_symlink():
    (results / "newest").symlink_to("history.txt")
    os.symlink("/etc/hostname", "results/leads-out")
pathlib.Path("scratch").write_text("stays")
while not pathlib.Path("enough").exists() and step < 100_000:
    step += 1
    with open(results / "history.txt", "a") as history:
        history.write(f"{step}\\n")
    job.report(step=step)
    if job.checkpoint_due():
        with job.checkpoint(step) as folder:
            (folder / "step").write_text(str(step))
        job.exit_if_stopped()
    time.sleep(0.02)
"""


def fetched(operator: Operator, *paths: str) -> dict[str, bytes]:
    request = pb.FetchOutputsRequest(job="writer", paths=paths)
    data = b"".join(chunk.data for chunk in operator.stub.FetchOutputs(request, timeout=30))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {member.name: tar.extractfile(member) for member in tar if member.isreg()}
        return {name: file.read() for name, file in files.items() if file is not None}


def work(fleet: LocalFleet, node: str, job_id: str) -> Path:
    return fleet.folder / node / "jobs" / job_id / "work"


def test_outputs_move_there_and_back(folder: Path) -> None:
    spec = JobSpec(
        name="writer",
        command=(sys.executable, "writer.py"),
        outputs=("results", "never-written-*"),
        checkpoint=CheckpointRules(timeout_s=15.0),
        policy=Policy(sites_preferred=("west",), grace_s=5.0),
    )
    # The source keeps what it had: on the way back older files of the same names lie there.
    with two_nodes(folder, saga={"retention_s": 600.0}) as fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.nodes_connected()
        job_id = operator.submit(spec, {"writer.py": JOB.encode()})
        operator.reached(5, "writer")
        with pytest.raises(grpc.RpcError, match="has not written it"):
            fetched(operator, "never-written-1")
        for destination in ("b", "a", "b"):
            assert operator.migration_ended(operator.move(destination, "writer")) == "COMMITTED", operator.story()
            operator.reached(operator.job("writer").progress.step + 3, "writer")
        history = fetched(operator, "results")["results/deep/history.txt"].split()
        assert history == [b"%d" % step for step in range(1, len(history) + 1)], "a step is missing, or there twice"
        names = {path.name for path in (work(fleet, "b", job_id) / "results" / "deep").iterdir()}
        assert names == {"history.txt", "newest", "epoch-1", "epoch-2", "epoch-3", "epoch-4"}
        assert (work(fleet, "b", job_id) / "results" / "deep" / "newest").is_symlink()
        # Paused, its outputs are fetched from where it stopped; it ends elsewhere with all of them.
        operator.stub.PauseJob(pb.ChangeJobRequest(request_id="p", job="writer"), timeout=5)
        paused = common_pb2.JobState.JOB_STATE_PAUSED
        operator.until(lambda: True if operator.job("writer").state == paused else None, "the pause")
        before = fetched(operator, "results/deep")["results/deep/history.txt"]
        operator.stub.DrainNode(pb.DrainNodeRequest(request_id="d", node_id="b", enable=True), timeout=5)
        operator.stub.ResumeJob(pb.ChangeJobRequest(request_id="r", job="writer"), timeout=5)
        operator.reached(int(before.split()[-1]) + 3, "writer")
        assert operator.job("writer").node_id == "a", operator.story()
        (work(fleet, "a", job_id) / "enough").touch()
        assert operator.ended("writer").state == common_pb2.JobState.JOB_STATE_FINISHED
        after = fetched(operator, "results/deep")["results/deep/history.txt"].split()
        assert after == [b"%d" % step for step in range(1, len(after) + 1)]
        assert not list(fleet.folder.glob(f"?/jobs/{job_id}/incoming")) + list(
            fleet.folder.glob(f"?/jobs/{job_id}/outgoing")
        )
