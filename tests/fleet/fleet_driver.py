"""Drives a fleet of two nodes through its operator's service, and watches that a job never runs twice."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import grpc
import psutil
from blake3 import blake3

from heliotrope.cli.demo.fleet import LocalFleet
from heliotrope.foundation import jobspec, wire
from heliotrope.foundation.jobspec import CheckpointRules, JobSpec, Policy
from heliotrope.v1 import common_pb2
from heliotrope.v1 import operator_pb2 as pb

Truth: TypeAlias = Callable[[tuple[str, ...]], str]
T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
TINY_JOB = ROOT / "examples" / "tiny_job.py"
RUN_TIMEOUT_S = 90.0
ENDED = ("JOB_STATE_FINISHED", "JOB_STATE_FAILED")

SITES = [
    {
        "name": name,
        "latitude": 37.0,
        "longitude": longitude,
        "grid_intensity_g_per_kwh": 300.0,
        "grid_renewable_ratio": 0.4,
        "window": {"rule": "intensity_below", "threshold": 500.0},
    }
    for name, longitude in (("west", -122.0), ("east", 10.0))
]
SAGA = {
    "prepare_timeout_s": 25.0,
    "staging_timeout_s": 25.0,
    "sending_timeout_s": 25.0,
    "starting_timeout_s": 25.0,
    "abort_timeout_s": 25.0,
    "retention_s": 1.0,
}


def two_nodes(
    folder: Path, *, saga: Mapping[str, float] | None = None, planner: Mapping[str, float] | None = None, **agent: Any
) -> LocalFleet:
    """Node ``a`` at site west and ``b`` at east, the planner placing jobs but never moving them."""
    fleet = LocalFleet(
        folder,
        sites=SITES,
        nodes={"a": "west", "b": "east"},
        coordinator={
            "planner": {"enabled": False, "placement_backoff_s": 1.0, **(planner or {})},
            "saga": {**SAGA, **(saga or {})},
        },
        agent={"power": {"batch_s": 2.0, "model": {"idle_w": 1.0, "max_w": 10.0, "scope": "tree"}}, **agent},
    )
    fleet.prepare()
    return fleet


def tiny_spec(*arguments: str, **policy: Any) -> JobSpec:
    """The tiny job, first placed at ``a``."""
    return JobSpec(
        name="tiny",
        command=(sys.executable, "tiny_job.py", *arguments),
        outputs=("result.json",),
        checkpoint=CheckpointRules(timeout_s=15.0),
        policy=Policy(**{"sites_preferred": ("west",), "grace_s": 5.0, **policy}),
    )


class Operator:
    """An operator at work: what a call needs to survive a coordinator that is being killed."""

    def __init__(self, fleet: LocalFleet) -> None:
        self._fleet = fleet
        self._channel = fleet.channel()
        self.stub = fleet.stub()

    def until(self, call: Callable[[], T | None], what: str, timeout_s: float = RUN_TIMEOUT_S) -> T:
        """Repeat ``call`` until it gives something; a coordinator that is away is waited for."""
        deadline_s = time.monotonic() + timeout_s
        last = "nothing"
        while time.monotonic() < deadline_s:
            try:
                found = call()
            except grpc.RpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                    raise
                last = str(error.details())
            else:
                if found is not None:
                    return found
                last = "no"
            time.sleep(0.1)
        raise AssertionError(f"{what} did not happen in {timeout_s} s (last answer: {last}); {self.story()}")

    def nodes_connected(self) -> None:
        """Wait until every node has a session."""

        def connected() -> bool | None:
            nodes = self.stub.GetFleet(pb.GetFleetRequest(), timeout=5).nodes
            return True if {node.node_id for node in nodes if node.connected} == set(self._fleet.nodes) else None

        self.until(connected, "the nodes' sessions")

    def submit(self, spec: JobSpec, files: Mapping[str, bytes] | None = None) -> str:
        """The job's id."""
        files = files or {"tiny_job.py": TINY_JOB.read_bytes()}
        jobspec.check(spec)
        data = _archive(files)
        bundle = common_pb2.Bundle(digest=blake3(data).digest(), size_bytes=len(data))
        header = pb.SubmitJobHeader(
            request_id=uuid.uuid4().hex, spec=wire.to_message(spec, common_pb2.JobSpec), bundle=bundle
        )
        requests = [pb.SubmitJobRequest(header=header), pb.SubmitJobRequest(data=data)]
        return str(self.stub.SubmitJob(iter(requests)).job_id)

    def job(self, job: str = "tiny") -> pb.Job:
        request = pb.GetJobRequest(job=job)
        found: pb.Job = self.until(lambda: self.stub.GetJob(request, timeout=5), "an answer about the job")
        return found

    def reached(self, step: int, job: str = "tiny") -> pb.Job:
        """Wait until the job runs and has done ``step`` steps."""
        return self.until(lambda: self._reached(job, step), f"step {step}")

    def _reached(self, job: str, step: int) -> pb.Job | None:
        found = self.stub.GetJob(pb.GetJobRequest(job=job), timeout=5)
        running = found.state == common_pb2.JobState.JOB_STATE_RUNNING
        return found if running and found.progress.step >= step else None

    def move(self, destination: str, job: str = "tiny") -> str:
        """Ask for a move, as often as it takes, under one request id; its migration's id."""
        request = pb.MoveJobRequest(request_id=uuid.uuid4().hex, job=job, destination=destination)
        migration: pb.Migration = self.until(lambda: self.stub.MoveJob(request, timeout=5), "the move")
        return str(migration.migration_id)

    def migration(self, migration_id: str) -> pb.Migration:
        request = pb.GetMigrationRequest(migration_id=migration_id)
        found: pb.Migration = self.until(lambda: self.stub.GetMigration(request, timeout=5), "an answer")
        return found

    def migration_ended(self, migration_id: str) -> str:
        """Wait for the end; the name of the last step."""

        def ended() -> str | None:
            migration = self.stub.GetMigration(pb.GetMigrationRequest(migration_id=migration_id), timeout=5)
            step = common_pb2.MigrationStep.Name(migration.step).removeprefix("MIGRATION_STEP_")
            return step if step in ("COMMITTED", "ABORTED", "RECOVERED", "FAILED") else None

        return self.until(ended, f"the end of {migration_id}")

    def ended(self, job: str = "tiny") -> pb.Job:
        """Wait for the job's end."""

        def ended() -> pb.Job | None:
            found = self.stub.GetJob(pb.GetJobRequest(job=job), timeout=5)
            return found if common_pb2.JobState.Name(found.state) in ENDED else None

        return self.until(ended, "the job's end")

    def fetch(self, path: str = "result.json", job: str = "tiny") -> bytes:
        """One output file."""

        def fetch() -> bytes:
            request = pb.FetchOutputsRequest(job=job, paths=[path])
            return b"".join(chunk.data for chunk in self.stub.FetchOutputs(request, timeout=30))

        with tarfile.open(fileobj=io.BytesIO(self.until(fetch, "the outputs"))) as tar:
            member = tar.extractfile(path)
            assert member is not None
            return member.read()

    def digest(self, job: str = "tiny") -> str:
        return str(json.loads(self.fetch(job=job))["parameters_digest"])

    def story(self) -> str:
        """What a failed test shows: steps of the migrations and the ends of the logs."""
        lines = []
        try:
            for migration in self.stub.ListMigrations(pb.ListMigrationsRequest(), timeout=5).migrations:
                steps = " ".join(common_pb2.MigrationStep.Name(one.step)[15:] for one in migration.steps)
                lines.append(f"{migration.migration_id}: {steps}; {migration.message}")
                lines += [f"  round {one.epoch}.{one.sequence}: {one.verdict}" for one in migration.rounds]
            job = self.stub.GetJob(pb.GetJobRequest(job="tiny"), timeout=5)
            lines.append(f"job {common_pb2.JobState.Name(job.state)} at {job.node_id!r}: {job.message}")
        except grpc.RpcError as error:
            lines.append(str(error))
        for name in self._fleet.members:
            lines.append(f"--- {name}\n{self._fleet.tail(name)}")
        return "\n".join(lines)


class Runners:
    """Samples, while it is entered, how many processes of a job live at once on all nodes of this machine."""

    def __init__(self, job_id: str) -> None:
        self._mark = f"HELIOTROPE_JOB_ID={job_id}".encode()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.most = 0
        self.samples = 0

    def __enter__(self) -> Runners:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.most = max(self.most, len(self._alive()))
            self.samples += 1

    def _alive(self) -> list[int]:
        found = []
        for process in psutil.process_iter():
            try:
                environment = Path(f"/proc/{process.pid}/environ").read_bytes()
                if self._mark in environment.split(b"\0") and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
            except (OSError, psutil.Error):
                continue
        return found


def plain_environment() -> dict[str, str]:
    """For running the job as a program: our module on the path, nothing of an agent's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("HELIOTROPE_")}


def _archive(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()
