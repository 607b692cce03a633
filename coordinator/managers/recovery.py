"""After the point of no return: fence the holder, then start the newest verified checkpoint under a new epoch.

Fenced is a holder that confirmed its stop, or whose lease surely ended, or that an operator declared forgotten.
"""

from __future__ import annotations

from heliotrope.foundation.errors import Conflict, DeadlineExceeded, JobFailed
from heliotrope.foundation.model import CommandResult, Fault, JobState, MigrationKind, MigrationStep

from ..state import order_model
from ..state.database import Transaction
from ..state.model import Copy, Job, Migration, replace
from ..state.order_model import Command
from . import orders
from .transitions import Transitions
from .world import World

# Starts that may fail before the job is given up: at each of the two ends, and once more.
STARTS_LIMIT = 3


class Recovery:
    """Walks a migration that is RECOVERING."""

    def __init__(self, world: World, steps: Transitions) -> None:
        self._world = world
        self._steps = steps

    def begin(self, tx: Transaction, job: Job, migration: Migration, message: str, *, fenced: bool = False) -> None:
        job = replace(job, state=JobState.RECOVERING, message=message)
        tx.jobs.put(job)
        if fenced:
            self._restart(tx, job, migration, message)
        else:
            self._fence(tx, job, migration, message)

    def ensure(self, tx: Transaction, job: Job, migration: Migration) -> bool:
        """Look for what no result brings: an ended lease, a forgotten node, a copy that came back."""
        awaited = tx.commands.find(migration.command_id) if migration.command_id else None
        if awaited is None:
            return self._restart(tx, job, migration, migration.message)
        if isinstance(awaited.order, order_model.Stop):
            if not (self._world.lease_ended(job) or tx.nodes.get(awaited.node_id).forgotten):
                return False
            if awaited.node_id not in self._world.present:
                self._steps.losses.open(tx, job, f"{awaited.node_id} did not come back after it was to start the job")
            return self._restart(
                tx, job, migration, f"{awaited.node_id} is fenced: its lease ended or it was forgotten"
            )
        if not self._steps.overdue(migration):
            return False
        late = "it did not answer within the deadline"
        self.start_failed(tx, job, migration, Fault(kind=DeadlineExceeded.__name__, message=late))
        return True

    def on_result(
        self, tx: Transaction, job: Job, migration: Migration, command: Command, result: CommandResult
    ) -> None:
        if isinstance(command.order, order_model.Stop):
            if result.error is None:
                self._restart(tx, job, migration, f"{command.node_id} confirmed that it stopped")
            else:
                self._fence(tx, job, migration, f"{command.node_id} could not stop the job: {result.error.message}")
        elif result.error is None:
            tx.jobs.put(replace(job, state=JobState.RUNNING, message=""))
            running_utc = self._steps.when(tx, command.node_id, result)
            self._steps.losses.close(tx, job, migration.checkpoint, running_utc)
            self._steps.enter(tx, replace(migration, load_s=result.load_s), MigrationStep.RECOVERED)
        else:
            self.start_failed(tx, job, migration, result.error)

    def finished(self, tx: Transaction, migration: Migration) -> None:
        """The restarted job came to its end before its start was answered."""
        job = tx.jobs.get(migration.job_id)
        self._steps.losses.close(tx, job, migration.checkpoint, self._world.utc())
        self._steps.enter(tx, migration, MigrationStep.RECOVERED, message="the job finished")

    def start_failed(self, tx: Transaction, job: Job, migration: Migration, fault: Fault) -> None:
        """The holder could not start the job: fence it, and try where it was not tried yet."""
        self._world.refuse_for_a_while(job.job_id, job.node_id, fault.message)
        whose = "job" if fault.kind == JobFailed.__name__ else "node"
        migration = replace(migration, tried_nodes=(*migration.tried_nodes, job.node_id), fault=whose)
        tx.jobs.put(replace(job, state=JobState.RECOVERING, message=fault.message))
        self._fence(tx, job, migration, f"{job.node_id} could not start the job: {fault.message}")

    def _fence(self, tx: Transaction, job: Job, migration: Migration, message: str) -> None:
        order = order_model.Stop(grace_s=job.spec.policy.grace_s)
        command = orders.command(self._world, job, job.node_id, order, migration_id=migration.migration_id)
        self._steps.enter(tx, migration, MigrationStep.RECOVERING, command, message=message)

    def _restart(self, tx: Transaction, job: Job, migration: Migration, message: str) -> bool:
        """True if something was written: waiting for a copy that is away writes once."""
        tried = migration.tried_nodes
        if len(tried) >= STARTS_LIMIT:
            self._give_up(tx, job, migration)
            return True
        try:
            node_id = self._where(tx, job, migration)
        except Conflict as error:
            if migration.message != str(error):
                self._steps.enter(tx, migration, MigrationStep.RECOVERING, message=str(error))
            return False
        node = tx.nodes.get(node_id)
        if node.forgotten or (node.draining and node_id != migration.source_node):
            self._place_anew(tx, job, migration, node_id)
            return True
        job = self._steps.hand_over(tx, job, node_id, node.site)
        copy = self._copy(tx, job, migration, prefer=node_id)
        command = orders.command(
            self._world,
            job,
            node_id,
            orders.start(job, copy.checkpoint if copy else None),
            migration_id=migration.migration_id,
            timeout_s=self._world.config.saga.starting_timeout_s,
        )
        changed = replace(migration, epoch=job.epoch, checkpoint=copy.checkpoint if copy else None)
        if migration.kind is MigrationKind.RECOVER:
            changed = replace(changed, destination_node=node_id, destination_site=node.site)
        self._steps.enter(tx, changed, MigrationStep.RECOVERING, command, message=message)
        return True

    def _place_anew(self, tx: Transaction, job: Job, migration: Migration, node_id: str) -> None:
        """The newest checkpoint lies where no job may start: the planner finds a place and it is fetched."""
        message = f"its newest checkpoint lies on {node_id}, which takes no jobs: it is placed anew"
        self._steps.close_run(tx, job, message, self._world.utc())
        tx.jobs.put(replace(job, state=JobState.PENDING, node_id="", message=message))
        self._steps.enter(tx, replace(migration, released=True), MigrationStep.ABORTED, message=message)

    def _where(self, tx: Transaction, job: Job, migration: Migration) -> str:
        copy = self._copy(tx, job, migration, prefer=migration.destination_node)
        if copy is not None:
            return copy.node_id
        ends = [node for node in (migration.destination_node, migration.source_node) if node in self._world.present]
        if not ends:
            raise Conflict(f"cannot restart job {job.job_id}: neither of its nodes is connected; bring one back")
        return min(ends, key=lambda node: node in migration.tried_nodes)

    def _copy(self, tx: Transaction, job: Job, migration: Migration, *, prefer: str) -> Copy | None:
        preferred = "" if prefer in migration.tried_nodes else prefer
        leaving = tuple(node.node_id for node in tx.nodes.all() if node.draining or node.forgotten)
        return orders.newest_copy(self._world, tx, job, prefer=preferred, avoid=(*migration.tried_nodes, *leaving))

    def _give_up(self, tx: Transaction, job: Job, migration: Migration) -> None:
        message = f"given up after {len(migration.tried_nodes)} failed starts: {migration.message}"
        now = self._world.utc()
        self._steps.close_run(tx, job, message, now)
        tx.jobs.put(
            replace(job, state=JobState.FAILED, node_id="", fault=migration.fault, message=message, ended_utc=now)
        )
        self._steps.enter(tx, replace(migration, released=True), MigrationStep.FAILED, message=message)
