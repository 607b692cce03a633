"""The saga's single transitions: each writes the migration, its order and the job in the caller's transaction."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from heliotrope.foundation import failpoints
from heliotrope.foundation.model import CommandResult, JobState, MigrationKind, MigrationStep

from ..state import order_model
from ..state.database import Transaction
from ..state.model import Job, LinkSample, Migration, Run, StepRecord, Wanted, replace
from ..state.order_model import Command
from . import orders, outlook
from .losses import LossBook
from .world import World

# How long an agent may take over an order's own timeout before the step counts as overdue.
SLACK_S = 15.0
# Smaller transfers say more about set-up than about the link.
SAMPLE_BYTES = 4 * 1024**2


class Transitions:
    """Writes steps; decides nothing."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.losses = LossBook(world)
        # Deadlines count on the monotonic clock from when this process saw the step: a restart grants it anew.
        self._deadlines: dict[str, tuple[MigrationStep, str, float]] = {}

    def enter(
        self,
        tx: Transaction,
        migration: Migration,
        step: MigrationStep,
        command: Command | None = None,
        *,
        message: str = "",
        note: str = "",
    ) -> Migration:
        """Persist ``step`` and the order it needs; an order that another step still waits for is cancelled.

        ``note`` stays with the step; ``message`` also says how the migration as a whole stands.
        """
        if migration.command_id:
            tx.commands.cancel(migration.command_id)
        record = StepRecord(step=step, entered_utc=self._world.utc(), message=message or note)
        migration = replace(
            migration,
            step=step,
            steps=(*migration.steps, record),
            command_id=command.command_id if command else "",
            message=message or migration.message,
        )
        tx.migrations.put(migration)
        if command is not None:
            tx.commands.add(command)
            tx.after_commit(partial(self._world.wake, command.node_id))
            self._set_deadline(migration, command)
        tx.before_commit(partial(failpoints.hit, f"saga.{step.lower()}.persist"))
        tx.after_commit(partial(failpoints.hit, f"saga.{step.lower()}.persisted"))
        tx.after_commit(self._world.changed)
        if step.ended:
            tx.after_commit(partial(self._world.meters.migration_ended, migration.kind.value, step.value))
            self._world.transferring.pop(migration.migration_id, None)
        return migration

    def overdue(self, migration: Migration) -> bool:
        """Whether the awaited order is past its timeout; a step that this process did not enter starts counting now."""
        known = self._deadlines.get(migration.migration_id)
        if known is None or known[:2] != (migration.step, migration.command_id):
            saga = self._world.config.saga
            limits = {
                MigrationStep.PREPARING: saga.prepare_timeout_s,
                MigrationStep.STAGING: saga.staging_timeout_s,
                MigrationStep.QUIESCING: saga.prepare_timeout_s,
                MigrationStep.SENDING: saga.sending_timeout_s,
                MigrationStep.ABORTING: saga.abort_timeout_s,
            }
            timeout_s = limits.get(migration.step, saga.starting_timeout_s)
            self._remember(migration, timeout_s)
            return False
        return self._world.clock.monotonic_s() > known[2]

    def when(self, tx: Transaction, node_id: str, result: CommandResult) -> datetime:
        """When the node was done, on this coordinator's clock: the result may have waited for us to come back."""
        if result.finished_utc is None:
            return self._world.utc()
        node = tx.nodes.find(node_id)
        return result.finished_utc - timedelta(seconds=node.clock_skew_s if node else 0.0)

    def hand_over(self, tx: Transaction, job: Job, node_id: str, site: str) -> Job:
        """A new epoch, held by ``node_id``: whatever ran under an older one has lost its lease."""
        now = self._world.utc()
        self.close_run(tx, job, "handed over", now)
        # A restored database may know checkpoints of epochs that it does not remember.
        seen = max((copy.checkpoint.epoch for copy in tx.jobs.copies(job.job_id)), default=0)
        job = replace(
            job,
            epoch=max(job.epoch, seen) + 1,
            attempt=0,
            node_id=node_id,
            site=site,
            first_site=job.first_site or site,
            started_utc=job.started_utc or now,
            drained_from="",
        )
        node = tx.nodes.get(node_id)
        models = sorted({gpu.model for gpu in node.inventory.gpus})
        job = replace(
            job,
            gpu_model=job.gpu_model or "".join(models[:1]),
            fingerprint=job.fingerprint or node.inventory.fingerprint,
        )
        tx.jobs.put(job)
        tx.jobs.put_run(Run(job_id=job.job_id, epoch=job.epoch, node_id=node_id, site=site, started_utc=now))
        self._world.granted_at_s[job.job_id] = self._world.clock.boottime_s()
        tx.marks.raise_handover_count(tx.marks.handover_count() + 1)
        return job

    def close_run(self, tx: Transaction, job: Job, reason: str, now: datetime) -> None:
        run = tx.jobs.run(job.job_id, job.epoch)
        if run is not None and run.ended_utc is None:
            tx.jobs.put_run(replace(run, ended_utc=now, end_reason=reason))

    def abort(self, tx: Transaction, job: Job, migration: Migration, message: str) -> None:
        """The source resumes: it runs on, or starts again from its newest checkpoint, under its old epoch."""
        job = replace(job, message=message)
        tx.jobs.put(job)
        held = [copy.checkpoint for copy in tx.jobs.copies(job.job_id) if copy.node_id == migration.source_node]
        # Only a job that had stopped starts again, as a new attempt, and its reports will say so; one that runs on
        # goes on reporting under the attempt that it is.
        order = order_model.Resume(start=orders.start(job, held[0] if held else None, job.attempt + 1))
        timeout_s = self._world.config.saga.abort_timeout_s
        command = orders.command(
            self._world,
            job,
            migration.source_node,
            order,
            migration_id=migration.migration_id,
            timeout_s=timeout_s,
        )
        self.enter(tx, migration, MigrationStep.ABORTING, command, message=message)

    def aborted(
        self,
        tx: Transaction,
        job: Job,
        migration: Migration,
        message: str,
        *,
        job_runs: bool = True,
        resumed: CommandResult | None = None,
    ) -> None:
        """Closed without a move. ``job_runs`` False: the job's own end is booked by whoever saw it."""
        if migration.kind is MigrationKind.PLACE:
            state = JobState.PAUSED if job.drained_from else JobState.PENDING
            tx.jobs.put(replace(job, state=state, message=message))
        elif job_runs and (resumed is None or resumed.run_state.alive):
            wanted = Wanted.RUN if migration.kind is MigrationKind.PAUSE else job.wanted
            tx.jobs.put(replace(job, state=JobState.RUNNING, wanted=wanted, message=message))
        self._discard_at_destination(tx, job, migration)
        self.enter(tx, replace(migration, released=True), MigrationStep.ABORTED, message=message)

    def source_cannot_resume(self, tx: Transaction, job: Job, migration: Migration, message: str) -> None:
        """The source answered that it cannot run the job again: place it anew, from the newest verified checkpoint."""
        text = f"{migration.message}; and the source could not resume it: {message}"
        tx.jobs.put(replace(job, state=JobState.PENDING, node_id="", message=text))
        self.close_run(tx, job, text, self._world.utc())
        self._discard_at_destination(tx, job, migration)
        self.enter(tx, replace(migration, released=True), MigrationStep.ABORTED, message=text)

    def committed(
        self,
        tx: Transaction,
        job: Job,
        migration: Migration,
        *,
        result: CommandResult | None = None,
        message: str = "",
    ) -> None:
        """The destination runs the job and was seen to make progress."""
        now = self._world.utc()
        load_s = result.load_s if result else None
        migration = replace(migration, load_s=load_s)
        running_utc = self.when(tx, migration.destination_node, result) if result else now
        self.losses.close(tx, job, migration.checkpoint, running_utc)
        if migration.quiesced_utc is not None:
            migration = replace(migration, **_standstill(migration, running_utc))
        moved = migration.kind is MigrationKind.MOVE
        if moved and migration.standstill_s is not None:
            expected_s = migration.expected.standstill_s if migration.expected else None
            stood_still = self._world.meters.stood_still
            tx.after_commit(partial(stood_still, migration.standstill_s, migration.standstill_network_s, expected_s))
        measured_save_s = None if migration.save_s is None else migration.save_s + (migration.stop_s or 0.0)
        tx.jobs.put(
            replace(
                outlook.learn_move(job, migration) if moved else job,
                state=JobState.RUNNING,
                message="",
                move_count=job.move_count + moved,
                last_move_utc=now if moved else job.last_move_utc,
                save_s=measured_save_s if measured_save_s is not None else job.save_s,
                load_s=load_s if load_s is not None else job.load_s,
            )
        )
        self.enter(tx, replace(migration, released=not moved), MigrationStep.COMMITTED, message=message)

    def paused(self, tx: Transaction, job: Job, migration: Migration) -> None:
        now = self._world.utc()
        drained = migration.source_node if migration.cause == "drain" and job.wanted is Wanted.RUN else ""
        why = f"stopped for the drain of node {drained}" if drained else "paused"
        self.close_run(tx, job, why, now)
        message = why if drained else ""
        tx.jobs.put(
            replace(job, state=JobState.PAUSED, node_id="", message=message, last_move_utc=now, drained_from=drained)
        )
        self.enter(tx, replace(migration, released=True), MigrationStep.COMMITTED)

    def count_pull(
        self, tx: Transaction, migration: Migration, result: CommandResult, *, standstill: bool
    ) -> Migration:
        """Book the transfer's bytes, and its rate for the link it crossed."""
        pull = result.pull
        if pull is None:
            return migration
        if pull.wire_bytes >= SAMPLE_BYTES and pull.duration_s > 0 and migration.source_site:
            tx.nodes.add_sample(
                LinkSample(
                    source_site=migration.source_site,
                    destination_site=migration.destination_site,
                    utc=self._world.utc(),
                    bandwidth_bytes_per_s=pull.wire_bytes / pull.duration_s,
                    wire_bytes=pull.wire_bytes,
                )
            )
        self._world.transferring.pop(migration.migration_id, None)
        return replace(
            migration,
            wire_bytes=migration.wire_bytes + pull.wire_bytes,
            standstill_wire_bytes=migration.standstill_wire_bytes + (pull.wire_bytes if standstill else 0),
        )

    def _discard_at_destination(self, tx: Transaction, job: Job, migration: Migration) -> None:
        """Nothing half-done stays at a destination that did not become the holder (and is nobody's holder)."""
        node = migration.destination_node
        if not node or node in (migration.source_node, job.node_id) or self._holds_copy(tx, job, node):
            return
        if tx.replicas.find(job.job_id, node) is not None:
            return  # what lies there is looked after by the replication
        tx.commands.add(orders.command(self._world, job, node, order_model.Release(keep_logs=True)))
        tx.after_commit(partial(self._world.wake, node))

    def _holds_copy(self, tx: Transaction, job: Job, node_id: str) -> bool:
        copies = tx.jobs.copies(job.job_id)
        return any(copy.node_id == node_id and copy.checkpoint.key == copies[0].checkpoint.key for copy in copies)

    def _set_deadline(self, migration: Migration, command: Command) -> None:
        self._remember(migration, command.timeout_s)

    def _remember(self, migration: Migration, timeout_s: float) -> None:
        deadline_s = self._world.clock.monotonic_s() + timeout_s + SLACK_S
        self._deadlines[migration.migration_id] = (migration.step, migration.command_id, deadline_s)


def _standstill(migration: Migration, running_utc: datetime) -> dict[str, float | None]:
    """Seconds from the request of the last checkpoint to the first sign of progress (total), and from the whole
    checkpoint to VERIFIED (network).

    Up to a step of the total the job was still at work. Moments of different nodes are on the coordinator's clock; the
    durations of one node (save, stop) are its own.
    """
    assert migration.quiesced_utc is not None
    before_s = (migration.save_s or 0.0) + (migration.stop_s or 0.0)
    network_s = None
    if migration.verified_utc is not None:
        network_s = (migration.verified_utc - migration.quiesced_utc).total_seconds() + (migration.stop_s or 0.0)
    total_s = (running_utc - migration.quiesced_utc).total_seconds() + before_s
    return {"standstill_s": total_s, "standstill_network_s": network_s}
