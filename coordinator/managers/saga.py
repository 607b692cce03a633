"""Moving a job: a saga with a persisted step before every effect.

    PLANNED -> PREPARING -> STAGING -> QUIESCING -> SENDING -> VERIFIED -> STARTING -> COMMITTED
               <- before the lease passes: ABORTING, the source resumes ->|<- after it: RECOVERING ->

A step, the order it needs and the change of the job are one transaction; the agent's result begins the next one. So a
crash anywhere leaves a step whose order is still in the outbox, and sending it again is all that recovery takes. The
point of no return is the commit that enters STARTING: it raises the epoch and passes the lease. docs/saga.md has the
table of step x crash; the failpoints of that table are hit here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heliotrope.foundation import failpoints
from heliotrope.foundation.errors import Conflict, DeadlineExceeded, JobFailed, NotFound
from heliotrope.foundation.model import CommandResult, Fault, JobState, MigrationKind, MigrationStep, RunState

from ..state import model, order_model
from ..state.database import Transaction
from ..state.model import Job, Migration, Node, replace
from ..state.order_model import Command, Order
from . import orders, outlook
from .recovery import Recovery
from .staging import Staging
from .steps import BEFORE_THE_JOB_STOPS, BEFORE_THE_LEASE_PASSES
from .transitions import Transitions
from .world import World, new_id

failpoints.register(*(f"saga.{step.lower()}.{moment}" for step in MigrationStep for moment in ("persist", "persisted")))


class Saga:
    """Walks every open migration forward."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._steps = Transitions(world)
        self._staging = Staging(world, self._steps)
        self._recovery = Recovery(world, self._steps)

    def begin(
        self,
        tx: Transaction,
        kind: MigrationKind,
        job: Job,
        destination: Node | None,
        *,
        cause: str,
        decision_id: str = "",
    ) -> Migration:
        """Persist PLANNED. Raises Conflict when the job already has an open migration or its state forbids this one."""
        if job.state.ended:
            raise Conflict(f"cannot move job {job.job_id}: it is {job.state}; submit it again to run it again")
        open_one = tx.migrations.open_of(job.job_id)
        if open_one is not None:
            raise Conflict(
                f"cannot begin a migration of job {job.job_id}: {open_one.migration_id} is at {open_one.step}; "
                "wait for it to end"
            )
        migration = Migration(
            migration_id=new_id("m"),
            kind=kind,
            job_id=job.job_id,
            job_name=job.spec.name,
            step=MigrationStep.PLANNED,
            cause=cause,
            decision_id=decision_id,
            source_node=job.node_id,
            source_site=job.site,
            destination_node=destination.node_id if destination else "",
            destination_site=destination.site if destination else "",
            epoch=job.epoch,
        )
        if kind is MigrationKind.MOVE:
            migration = replace(migration, expected=outlook.expected_move(self._world, tx, job, migration))
        return self._steps.enter(tx, migration, MigrationStep.PLANNED, message=cause)

    def ensure(self, tx: Transaction) -> bool:
        """Begin what is PLANNED, pass the lease of what is VERIFIED, give up what is overdue."""
        advanced = False
        for migration in tx.migrations.open():
            advanced = self._ensure_one(tx, migration) or advanced
        return advanced

    def _ensure_one(self, tx: Transaction, migration: Migration) -> bool:
        job = tx.jobs.get(migration.job_id)
        if migration.step is MigrationStep.RECOVERING:
            return self._recovery.ensure(tx, job, migration)
        if self._source_is_gone(tx, job, migration):
            self._source_lost(tx, job, migration, f"its source {migration.source_node} is lost")
        elif migration.step is MigrationStep.PLANNED:
            self._or_give_up(tx, job, migration, lambda: self._begin(tx, job, migration))
        elif migration.step is MigrationStep.VERIFIED:
            if not self._world.settled(job):
                return False
            self._pass_the_lease(tx, job, migration)
        elif self._steps.overdue(migration) and not self._waits_for_its_source(migration):
            waited = f"{migration.step} did not end within its deadline"
            self.failed(tx, job, migration, Fault(kind=DeadlineExceeded.__name__, message=waited))
        else:
            return False
        return True

    def _source_is_gone(self, tx: Transaction, job: Job, migration: Migration) -> bool:
        """Its lease surely ended, or an operator said that it will not come back, while it still had a part in this."""
        source = migration.source_node
        if migration.kind not in (MigrationKind.MOVE, MigrationKind.PAUSE) or source in self._world.present:
            return False
        if migration.step not in (*BEFORE_THE_JOB_STOPS, MigrationStep.QUIESCING, MigrationStep.ABORTING):
            return False
        return self._world.lease_ended(job) or tx.nodes.get(source).forgotten

    def _waits_for_its_source(self, migration: Migration) -> bool:
        """A source that is away may run the job: nothing starts elsewhere before it answered, or is gone for good."""
        return migration.step is MigrationStep.ABORTING and migration.source_node not in self._world.present

    def on_result(self, tx: Transaction, command: Command, result: CommandResult) -> None:
        """The awaited order of a migration ended; a result that nobody waits for any more changes nothing."""
        migration = tx.migrations.get(command.migration_id)
        if migration.step.ended or migration.command_id != command.command_id:
            return
        job = tx.jobs.get(migration.job_id)
        if migration.step is MigrationStep.RECOVERING:
            self._recovery.on_result(tx, job, migration, command, result)
        elif result.error is not None:
            if not _is_the_jobs_own_end(migration, result.error):
                self.failed(tx, job, replace(migration, error_kind=result.error.kind), result.error)
        else:
            self._or_give_up(tx, job, migration, lambda: self._done(tx, job, migration, command, result))

    def _or_give_up(self, tx: Transaction, job: Job, migration: Migration, step: Callable[[], None]) -> None:
        """Run a step that first looks whether it can be made (Conflict) and only then writes."""
        try:
            step()
        except Conflict as error:
            self.failed(tx, job, migration, Fault(kind=Conflict.__name__, message=str(error)))

    def failed(self, tx: Transaction, job: Job, migration: Migration, fault: Fault) -> None:
        """Before the point of no return the source goes on; after it the newest checkpoint is started elsewhere."""
        if migration.destination_node:
            self._world.refuse_for_a_while(job.job_id, migration.destination_node, fault.message)
        if migration.step is MigrationStep.STARTING:
            self._recovery.start_failed(tx, job, migration, fault)
        elif fault.kind == NotFound.__name__ and self._staging.begins_again(migration):
            self._staging.begin(tx, job, migration, note=fault.message)
        elif migration.step is MigrationStep.ABORTING and fault.kind == DeadlineExceeded.__name__:
            # Whether it runs is not known: it is fenced before anything starts.
            self._recovery.begin(tx, job, migration, f"{migration.message}; {fault.message}")
        elif migration.step is MigrationStep.ABORTING:
            self._steps.source_cannot_resume(tx, job, migration, fault.message)
        elif migration.step in (MigrationStep.QUIESCING, MigrationStep.SENDING, MigrationStep.VERIFIED):
            self._steps.abort(tx, job, migration, fault.message)
        else:
            self._steps.aborted(tx, job, migration, fault.message)

    def cancel(self, tx: Transaction, job: Job, migration: Migration, message: str) -> bool:
        """Give the migration up if the lease has not passed; False when it is too late for that."""
        if migration.step not in BEFORE_THE_LEASE_PASSES:
            return False
        self.failed(tx, job, migration, Fault(kind=Conflict.__name__, message=message))
        return True

    def node_forgotten(self, tx: Transaction, job: Job, migration: Migration, node_id: str) -> None:
        """An operator declared a node of this migration gone for good: nothing waits for its answer any more."""
        message = f"node {node_id} was forgotten"
        if migration.step is MigrationStep.RECOVERING:
            return  # it looks for that itself
        if node_id == migration.destination_node:
            if not self.cancel(tx, job, migration, message) and migration.step is MigrationStep.STARTING:
                self._recovery.begin(tx, job, migration, message)
        elif job.node_id == node_id:
            self._source_lost(tx, job, migration, message)

    def _source_lost(self, tx: Transaction, job: Job, migration: Migration, message: str) -> None:
        """The job counts as running there still: the manager of the nodes finds it, and hands it on."""
        if migration.staged is not None and migration.step not in BEFORE_THE_JOB_STOPS:
            # Pulled and verified: it may be all that is left of the job.
            node = migration.destination_node
            tx.jobs.add_copy(model.Copy(job_id=job.job_id, node_id=node, checkpoint=migration.staged))
        self._steps.aborted(tx, job, migration, message)

    def supersede(self, tx: Transaction, job: Job, migration: Migration, message: str) -> None:
        """Close it at whatever step: the job runs elsewhere, under an epoch that this migration knew nothing of."""
        if not self.cancel(tx, job, migration, message) or not tx.migrations.get(migration.migration_id).step.ended:
            migration = tx.migrations.get(migration.migration_id)
            self._steps.enter(tx, replace(migration, released=True), MigrationStep.ABORTED, message=message)

    def run_ended(self, tx: Transaction, job: Job, migration: Migration, state: RunState, message: str) -> None:
        """The job's run at its holder ended while a migration is open, not because the migration stopped it."""
        if _starts_first_time(migration) and not state.alive and state is not RunState.FINISHED:
            self._steps.enter(tx, replace(migration, released=True), MigrationStep.FAILED, message=message)
        elif migration.step is MigrationStep.STARTING and state is RunState.FINISHED:
            self._steps.committed(tx, job, migration, message="the job finished at its destination")
        elif migration.step is MigrationStep.RECOVERING and state is RunState.FINISHED:
            self._recovery.finished(tx, migration)
        elif migration.step is MigrationStep.ABORTING and state is RunState.FINISHED:
            self._steps.aborted(tx, job, migration, migration.message, job_runs=False)
        elif migration.step in BEFORE_THE_LEASE_PASSES and not (
            # From QUIESCING on, "stopped" is what was asked for.
            state is RunState.STOPPED and migration.step not in BEFORE_THE_JOB_STOPS
        ):
            self._steps.aborted(tx, job, migration, f"the job ended by itself: {message or state}", job_runs=False)

    def _begin(self, tx: Transaction, job: Job, migration: Migration) -> None:
        if migration.kind is MigrationKind.PAUSE:
            self._quiesce(tx, job, migration)
            return
        if migration.kind is MigrationKind.RECOVER:
            self._recovery.begin(tx, job, migration, migration.cause, fenced=True)
            return
        source = migration.source_node
        if migration.kind is MigrationKind.PLACE:
            copy = orders.newest_copy(self._world, tx, job, prefer=migration.destination_node)
            source = copy.node_id if copy else ""
            tx.jobs.put(replace(job, state=JobState.PREPARING, message=""))
        order = orders.prepare(self._world, tx, job, migration, source)
        timeout_s = self._world.config.saga.prepare_timeout_s
        self._order(tx, job, migration, MigrationStep.PREPARING, migration.destination_node, order, timeout_s)

    def _done(self, tx: Transaction, job: Job, migration: Migration, command: Command, result: CommandResult) -> None:
        step = migration.step
        if step is MigrationStep.PREPARING and migration.kind is MigrationKind.PLACE:
            self._fetch_for_placement(tx, job, migration)
        elif step is MigrationStep.PREPARING:
            self._staging.begin(tx, job, migration)
        elif step is MigrationStep.STAGING and isinstance(command.order, order_model.Pull):
            self._staged(tx, job, migration, command.order, result)
        elif step is MigrationStep.STAGING:
            self._staging.requested(tx, job, migration, result)
        elif step is MigrationStep.QUIESCING:
            self._quiesced(tx, job, migration, result)
        elif step is MigrationStep.SENDING:
            self._verified(tx, job, migration, result)
        elif step is MigrationStep.STARTING:
            self._steps.committed(tx, job, migration, result=result)
        elif step is MigrationStep.ABORTING:
            self._steps.aborted(tx, job, migration, migration.message, resumed=result)

    def _staged(
        self, tx: Transaction, job: Job, migration: Migration, order: order_model.Pull, result: CommandResult
    ) -> None:
        migration, enough = self._staging.arrived(tx, job, migration, order.checkpoint, result)
        if enough:
            self._quiesce(tx, tx.jobs.get(job.job_id), migration, note=enough)

    def _quiesce(self, tx: Transaction, job: Job, migration: Migration, *, note: str = "") -> None:
        """A last checkpoint on request, then the job stops."""
        if migration.kind is MigrationKind.MOVE:
            tx.jobs.put(replace(job, state=JobState.MOVING))
        timeout_s = job.spec.checkpoint.timeout_s + job.spec.policy.grace_s
        node = migration.source_node
        self._order(tx, job, migration, MigrationStep.QUIESCING, node, order_model.Quiesce(), timeout_s, note)

    def _quiesced(self, tx: Transaction, job: Job, migration: Migration, result: CommandResult) -> None:
        if result.run_state is not RunState.STOPPED or result.checkpoint is None:
            self._steps.aborted(tx, job, migration, f"the job ended by itself: {result.run_state}", job_runs=False)
            return
        migration = replace(
            migration,
            checkpoint=result.checkpoint,
            state_bytes=result.checkpoint.state_bytes,
            save_s=result.save_s,
            stop_s=result.stop_s,
            quiesced_utc=self._steps.when(tx, migration.source_node, result),
        )
        tx.jobs.add_copy(model.Copy(job_id=job.job_id, node_id=migration.source_node, checkpoint=result.checkpoint))
        job = replace(job, outputs=result.outputs, outputs_node=migration.source_node)
        tx.jobs.put(job)
        if migration.kind is MigrationKind.PAUSE:
            self._steps.paused(tx, job, migration)
            return
        self._send(tx, job, migration, migration.source_node)

    def _fetch_for_placement(self, tx: Transaction, job: Job, migration: Migration) -> None:
        copy = orders.newest_copy(self._world, tx, job, prefer=migration.destination_node)
        if copy is not None:
            migration = replace(migration, checkpoint=copy.checkpoint, state_bytes=copy.checkpoint.state_bytes)
        if copy is None or copy.node_id == migration.destination_node:
            if self._world.settled(job):
                self._pass_the_lease(tx, job, migration)
            else:
                self._steps.enter(tx, migration, MigrationStep.VERIFIED)
        else:
            self._send(tx, job, migration, copy.node_id)

    def _send(self, tx: Transaction, job: Job, migration: Migration, source_node: str) -> None:
        assert migration.checkpoint is not None
        outputs = job.outputs if job.outputs_node == source_node else None
        order = orders.pull(
            self._world, tx, job, migration, migration.checkpoint, source_node, outputs=outputs, standstill=True
        )
        timeout_s = self._world.config.saga.sending_timeout_s
        node = migration.destination_node
        self._order(tx, job, migration, MigrationStep.SENDING, node, order, timeout_s)

    def _verified(self, tx: Transaction, job: Job, migration: Migration, result: CommandResult) -> None:
        assert migration.checkpoint is not None
        got = result.checkpoint.manifest_digest.hex() if result.checkpoint else "nothing"
        wanted = migration.checkpoint.manifest_digest.hex()
        if got != wanted:
            message = f"the destination recomputed manifest digest {got}, not {wanted}"
            self.failed(tx, job, migration, Fault(kind="Corrupt", message=message))
            return
        node = migration.destination_node
        outlook.learn_transfer(tx, job, migration, migration.checkpoint, result)
        tx.jobs.add_copy(model.Copy(job_id=job.job_id, node_id=node, checkpoint=migration.checkpoint))
        migration = self._steps.count_pull(tx, migration, result, standstill=True)
        verified_utc = self._steps.when(tx, node, result)
        self._steps.enter(tx, replace(migration, verified_utc=verified_utc), MigrationStep.VERIFIED)

    def _pass_the_lease(self, tx: Transaction, job: Job, migration: Migration) -> None:
        """The point of no return: a new epoch, held by the destination."""
        job = self._steps.hand_over(tx, job, migration.destination_node, migration.destination_site)
        migration = replace(migration, epoch=job.epoch)
        order = orders.start(job, migration.checkpoint)
        timeout_s = self._world.config.saga.starting_timeout_s
        self._order(tx, job, migration, MigrationStep.STARTING, migration.destination_node, order, timeout_s)

    def _order(
        self,
        tx: Transaction,
        job: Job,
        migration: Migration,
        step: MigrationStep,
        node_id: str,
        order: Order,
        timeout_s: float,
        note: str = "",
    ) -> Migration:
        fields: dict[str, Any] = {"migration_id": migration.migration_id, "timeout_s": timeout_s}
        command = orders.command(self._world, job, node_id, order, **fields)
        return self._steps.enter(tx, migration, step, command, note=note)


def _starts_first_time(migration: Migration) -> bool:
    """Nowhere else to go back to: a failed start is the job's own business (restarts, policy.restart_limit)."""
    return migration.step is MigrationStep.STARTING and migration.kind is MigrationKind.PLACE


def _is_the_jobs_own_end(migration: Migration, fault: Fault) -> bool:
    """The report of the run's end says the same and more (exit code, whose fault): it is waited for instead."""
    return _starts_first_time(migration) and fault.kind == JobFailed.__name__
