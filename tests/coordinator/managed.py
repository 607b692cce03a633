"""A coordinator's state and managers without its daemon: a clock to turn by hand, agents played by the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from heliotrope.coordinator.config import CoordinatorConfig, ReplicationConfig, SagaConfig
from heliotrope.coordinator.managers.jobs import JobManager
from heliotrope.coordinator.managers.nodes import NodeManager
from heliotrope.coordinator.managers.replication import ReplicationManager
from heliotrope.coordinator.managers.saga import Saga
from heliotrope.coordinator.managers.world import World
from heliotrope.coordinator.state import model
from heliotrope.coordinator.state.database import Database, Transaction
from heliotrope.coordinator.state.model import Job, Node, Run
from heliotrope.coordinator.state.order_model import Command, CommandState
from heliotrope.foundation.jobspec import CheckpointRules, JobSpec, Policy
from heliotrope.foundation.model import (
    Checkpoint,
    CommandResult,
    Fault,
    Inventory,
    JobReport,
    JobState,
    Progress,
    PullReport,
    RunState,
)

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SITES = {"a": "west", "b": "east", "c": "west", "d": "north"}


class HandClock:
    """Stands until it is turned."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def boottime_s(self) -> float:
        return self.now_s

    def utc(self) -> datetime:
        return START + timedelta(seconds=self.now_s - 1000.0)


class Managed:
    """The managers that node loss and replicas are about, over one database."""

    def __init__(self, database: Database) -> None:
        self.clock = HandClock()
        self.database = database
        self.woken: list[str] = []
        config = CoordinatorConfig(
            identity="unused",
            state_dir="unused",
            saga=SagaConfig(lease_margin_s=5.0, settle_s=60.0),
            replication=ReplicationConfig(retry_s=10.0, away_s=100.0),
        )
        self.world = World(
            clock=self.clock,
            config=config,
            sites={},
            sign_ticket=lambda request: request.job_id.encode(),
            wake=self.woken.append,
            started_at_s=self.clock.now_s,
        )
        self.saga = Saga(self.world)
        self.jobs = JobManager(self.world, self.saga)
        self.nodes = NodeManager(self.world, self.saga)
        self.replication = ReplicationManager(self.world)

    def wait(self, seconds: float) -> None:
        """Time passes, and every manager looks at it."""
        self.clock.now_s += seconds
        self.ensure()

    def ensure(self) -> None:
        for manager in (self.saga, self.nodes, self.jobs, self.replication) * 2:
            with self.database.transaction() as tx:
                manager.ensure(tx)

    def hello(self, node_id: str, *reports: JobReport, handover_count: int = 0) -> None:
        inventory = Inventory(cpu_count=4, disk_free_bytes=10**9, transfer_addresses=(f"{node_id}:7443",))
        node = Node(node_id=node_id, site=SITES[node_id], inventory=inventory, instance_id="i")
        with self.database.transaction() as tx:
            self.nodes.on_hello(tx, node, "i", handover_count)
            self.jobs.on_hello(tx, node_id, reports)

    def gone(self, node_id: str) -> None:
        with self.database.transaction() as tx:
            self.nodes.on_gone(tx, node_id, "i")

    def forget(self, node_id: str) -> None:
        with self.database.transaction() as tx:
            tx.nodes.put(model.replace(tx.nodes.get(node_id), forgotten=True))
            tx.jobs.drop_copies("j-1", node_id)

    def run(self, node_id: str = "a", *, rules: CheckpointRules | None = None, **policy: Any) -> None:
        """The job j-1 runs there under epoch 1."""
        spec = JobSpec(name="train", command=("true",), checkpoint=rules or CheckpointRules(), policy=Policy(**policy))
        job = Job(
            job_id="j-1",
            spec=spec,
            bundle_digest=b"\x01",
            bundle_bytes=1,
            submitted_utc=START,
            state=JobState.RUNNING,
            node_id=node_id,
            site=SITES[node_id],
            epoch=1,
        )
        with self.database.transaction() as tx:
            tx.jobs.put(job)
            tx.jobs.put_run(Run(job_id="j-1", epoch=1, node_id=node_id, site=job.site, started_utc=self.clock.utc()))
        self.world.granted_at_s["j-1"] = self.clock.now_s

    def report(
        self, node_id: str, *, step: int = 0, checkpoints: tuple[Checkpoint, ...] = (), **fields: object
    ) -> JobReport:
        """Taken in, and given back for a hello."""
        progress = Progress(step=step, reported_utc=self.clock.utc()) if step else Progress()
        made = JobReport(
            job_id="j-1", epoch=1, attempt=0, state=RunState.RUNNING, progress=progress, checkpoints=checkpoints
        )
        made = model.replace(made, **fields)
        with self.database.transaction() as tx:
            self.jobs.on_report(tx, node_id, made)
        return made

    def checkpoint(self, sequence: int, epoch: int = 1) -> Checkpoint:
        """Made now."""
        digest = bytes([epoch, sequence])
        return Checkpoint(
            epoch=epoch,
            sequence=sequence,
            manifest_digest=digest,
            state_bytes=1000,
            step=10 * sequence,
            created_utc=self.clock.utc(),
        )

    def orders(self, node_id: str) -> list[Command]:
        with self.database.transaction() as tx:
            return tx.commands.open_for(node_id)

    def answer(self, command: Command, *, error: str = "", wire_bytes: int = 0) -> None:
        """The agent is done with the order; ``wire_bytes``: what a pull sent."""
        fault = Fault(kind="Unreachable", message=error) if error else None
        result = CommandResult(
            command_id=command.command_id,
            error=fault,
            run_state=RunState.RUNNING,
            finished_utc=self.clock.utc(),
            pull=PullReport(state_bytes=1000, wire_bytes=wire_bytes) if wire_bytes else None,
        )
        with self.database.transaction() as tx:
            tx.commands.close(model.replace(command, state=CommandState.DONE, result=result))
            if command.migration_id:
                self.saga.on_result(tx, command, result)
            elif not self.replication.on_result(tx, command, result):
                self.jobs.on_result(tx, command, result)

    @property
    def job(self) -> Job:
        with self.database.transaction() as tx:
            return tx.jobs.get("j-1")

    def read(self) -> Transaction:
        """For looking only."""
        with self.database.transaction() as tx:
            return tx


@contextmanager
def managed(folder: Path, nodes: str = "abcd") -> Iterator[Managed]:
    """The nodes named by one letter each are connected."""
    database = Database.in_folder(folder)
    made = Managed(database)
    for node_id in nodes:
        made.hello(node_id)
    yield made
    database.close()
