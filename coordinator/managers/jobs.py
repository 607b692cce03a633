"""Jobs: what agents report of their runs, what owners want of them, restarts, and the clearing away afterwards."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial

from heliotrope.foundation.errors import Conflict
from heliotrope.foundation.model import CommandResult, JobReport, JobState, MigrationKind, Progress, RunState

from ..state import model, order_model
from ..state.database import Transaction
from ..state.model import Job, Migration, Wanted, replace
from ..state.order_model import Command
from . import orders
from .losses import LossBook
from .saga import Saga
from .world import World

log = logging.getLogger("heliotrope.coordinator.jobs")

RESTART_DELAY_S = 2.0
RESTART_DELAY_LIMIT_S = 300.0
CLEAR_INTERVAL_S = 60.0


class JobManager:
    """Brings each job to the state its owner wants."""

    def __init__(self, world: World, saga: Saga) -> None:
        self._world = world
        self._saga = saga
        self._losses = LossBook(world)
        self._clear_at_s = 0.0

    def ensure(self, tx: Transaction) -> bool:
        advanced = False
        for job in tx.jobs.all(ended=False):
            if job.wanted is Wanted.CANCEL:
                advanced = self._cancel(tx, job) or advanced
            elif job.wanted is Wanted.PAUSE:
                advanced = self._pause(tx, job) or advanced
            elif job.state is JobState.PAUSED and not self._still_drained(tx, job):
                tx.jobs.put(replace(job, state=JobState.PENDING, drained_from=""))
                advanced = True
        self._release(tx)
        self._clear_ended(tx)
        return advanced

    def on_report(self, tx: Transaction, node_id: str, report: JobReport) -> None:
        """A run's state as its agent sees it. Reports of older epochs change nothing but may fence their sender."""
        job = tx.jobs.find(report.job_id)
        if job is None:
            log.warning("node %s runs job %s, which this coordinator does not know", node_id, report.job_id)
            return
        if report.epoch > job.epoch and report.state is not RunState.UNSPECIFIED:
            job = self._adopt_newer(tx, job, node_id, report)
        job = self._note_copies(tx, job, node_id, report)
        if report.state is RunState.UNSPECIFIED:
            return  # it holds copies, and says nothing of a run
        if report.epoch < job.epoch or job.node_id != node_id or job.state.ended:
            self._losses.learn(tx, report, node_id)
            if report.state.alive:
                self._fence(tx, job, node_id, report.epoch)
            return
        if report.attempt < job.attempt:
            return
        job = replace(job, progress=_newer(job.progress, report.progress), attempt=report.attempt)
        if job.state is JobState.LOST and report.state.alive:
            job = replace(job, state=JobState.RUNNING, message="")
            self._losses.returned(tx, job)
        tx.jobs.put(job)
        tx.after_commit(self._world.changed)
        if not report.state.alive:
            self._run_ended(tx, job, report)

    def on_hello(self, tx: Transaction, node_id: str, reports: tuple[JobReport, ...]) -> None:
        """What the node holds; a job it should run and does not name is gone from it (its disk was wiped)."""
        named = {report.job_id for report in reports if report.state is not RunState.UNSPECIFIED}
        for report in reports:
            self.on_report(tx, node_id, report)
        for job in tx.jobs.on_node(node_id):
            unknown = job.job_id not in named
            here = job.state in (JobState.RUNNING, JobState.LOST)
            if unknown and here and tx.migrations.open_of(job.job_id) is None:
                if not any(report.job_id == job.job_id for report in reports):
                    tx.jobs.drop_copies(job.job_id, node_id)
                if not self._world.settled(job):
                    # An old backup says that it ran here: it may long run elsewhere, and this was no failure of it.
                    self._again(tx, job, f"{node_id} came back without it", delay_s=RESTART_DELAY_S)
                    continue
                self._losses.open(tx, job, f"{node_id} came back without it")
                lost = JobReport(
                    job_id=job.job_id,
                    epoch=job.epoch,
                    attempt=job.attempt,
                    state=RunState.LOST,
                    fault="node",
                    message=f"{node_id} came back without it",
                )
                self._run_ended(tx, job, lost)

    def on_result(self, tx: Transaction, command: Command, result: CommandResult) -> None:
        """An order outside any migration ended."""
        job = tx.jobs.find(command.job_id)
        if job is None or result.error is not None:
            if job is not None and isinstance(command.order, order_model.Stop) and job.state is JobState.RUNNING:
                tx.jobs.put(replace(job, drained_from=""))  # a stop for a drain: it is tried again
            return
        if isinstance(command.order, order_model.Stop) and job.wanted is Wanted.CANCEL and job.epoch == command.epoch:
            self._end(tx, job, JobState.FAILED, "cancelled by its owner", fault="operator")
        elif isinstance(command.order, order_model.Stop) and job.drained_from and job.epoch == command.epoch:
            self._park(tx, job)
        elif isinstance(command.order, order_model.Release):
            tx.jobs.drop_copies(job.job_id, command.node_id)

    # -- ends of runs

    def _run_ended(self, tx: Transaction, job: Job, report: JobReport) -> None:
        migration = tx.migrations.open_of(job.job_id)
        if migration is not None:
            self._saga.run_ended(tx, job, migration, report.state, report.message)
            if tx.migrations.open_of(job.job_id) is not None:
                return
            job = tx.jobs.get(job.job_id)
        if report.state is RunState.FINISHED:
            self._end(tx, job, JobState.FINISHED, "", exit_code=report.exit_code)
        elif job.wanted is Wanted.CANCEL:
            self._end(tx, job, JobState.FAILED, "cancelled by its owner", fault="operator")
        elif job.drained_from:
            self._park(tx, job)
        elif report.state is RunState.STOPPED:
            if report.fault:  # not on order: its lease ended, and what it did since its last checkpoint went with it
                self._losses.open(tx, job, report.message)
            self._again(tx, job, "it stopped by itself and asked to be resumed", delay_s=RESTART_DELAY_S)
        else:
            self._restart_or_fail(tx, job, report)

    def _restart_or_fail(self, tx: Transaction, job: Job, report: JobReport) -> None:
        cause = report.message or f"exit code {report.exit_code}"
        if job.restart_count >= job.spec.policy.restart_limit:
            message = f"{cause}; it was restarted {job.restart_count} times, the limit of policy.restart_limit"
            self._end(tx, job, JobState.FAILED, message, fault=report.fault, exit_code=report.exit_code)
            return
        delay_s = min(RESTART_DELAY_S * 2**job.restart_count, RESTART_DELAY_LIMIT_S)
        job = replace(job, restart_count=job.restart_count + 1, fault=report.fault)
        self._again(tx, job, f"restarting: {cause}", delay_s=delay_s)

    def _again(self, tx: Transaction, job: Job, message: str, *, delay_s: float) -> None:
        now = self._world.utc()
        self._close_run(tx, job, message)
        after = now + timedelta(seconds=delay_s)
        state = JobState.PAUSED if job.wanted is Wanted.PAUSE else JobState.PENDING
        tx.jobs.put(replace(job, state=state, node_id="", message=message, restart_after_utc=after))

    def _park(self, tx: Transaction, job: Job) -> None:
        """A drain stopped it; its message says how, and it goes on where there is room."""
        if job.state is JobState.PAUSED:
            return  # the report of its end and the answer to the order both say so
        self._close_run(tx, job, job.message)
        tx.jobs.put(replace(job, state=JobState.PAUSED, node_id=""))

    def _still_drained(self, tx: Transaction, job: Job) -> bool:
        """Whether the drain that stopped the job still holds; only then its place is not simply its node again."""
        node = tx.nodes.find(job.drained_from) if job.drained_from else None
        return node is not None and node.draining

    def _end(
        self, tx: Transaction, job: Job, state: JobState, message: str, *, fault: str = "", exit_code: int | None = None
    ) -> None:
        now = self._world.utc()
        self._close_run(tx, job, message or state.lower())
        tx.jobs.put(replace(job, state=state, message=message, fault=fault, exit_code=exit_code, ended_utc=now))
        last = job.node_id or (tx.jobs.runs(job.job_id)[-1].node_id if job.epoch else "")
        replicas = {replica.node_id for replica in tx.replicas.of_job(job.job_id)}
        for node_id in ({copy.node_id for copy in tx.jobs.copies(job.job_id)} | replicas) - {last}:
            self._order_release(tx, job, node_id)
        tx.commands.prune(job.job_id)
        self._world.granted_at_s.pop(job.job_id, None)
        tx.after_commit(self._world.changed)

    def _close_run(self, tx: Transaction, job: Job, reason: str) -> None:
        run = tx.jobs.run(job.job_id, job.epoch)
        if run is not None and run.ended_utc is None:
            tx.jobs.put_run(replace(run, ended_utc=self._world.utc(), end_reason=reason))

    # -- what owners want

    def _cancel(self, tx: Transaction, job: Job) -> bool:
        migration = tx.migrations.open_of(job.job_id)
        if migration is not None:
            return self._saga.cancel(tx, job, migration, "the job was cancelled")
        if not job.node_id or job.state is JobState.LOST:
            self._end(tx, job, JobState.FAILED, "cancelled by its owner", fault="operator")
            return True
        stops = [one for one in tx.commands.open_of_job(job.job_id) if isinstance(one.order, order_model.Stop)]
        if not stops:
            self._send(
                tx, orders.command(self._world, job, job.node_id, order_model.Stop(grace_s=job.spec.policy.grace_s))
            )
        return False

    def _pause(self, tx: Transaction, job: Job) -> bool:
        if job.state is JobState.PAUSED and job.drained_from:
            tx.jobs.put(replace(job, drained_from=""))  # from now on it stands still because its owner says so
            return False
        if job.state is JobState.PENDING:
            tx.jobs.put(replace(job, state=JobState.PAUSED, message=""))
            return True
        if job.state is not JobState.RUNNING or tx.migrations.open_of(job.job_id) is not None:
            return False
        try:
            self._saga.begin(tx, MigrationKind.PAUSE, job, None, cause="operator")
        except Conflict:
            return False
        return True

    # -- clearing away

    def _release(self, tx: Transaction) -> None:
        """The source deletes after the destination's own first checkpoint is durable and the retention time passed."""
        now = self._world.utc()
        for migration in tx.migrations.unreleased():
            ended = migration.steps[-1].entered_utc
            if (now - ended).total_seconds() < self._world.config.saga.retention_s:
                continue
            job = tx.jobs.get(migration.job_id)
            own = [copy for copy in tx.jobs.copies(job.job_id) if copy.checkpoint.epoch >= migration.epoch]
            if own or job.state.ended:
                self._release_one(tx, job, migration)

    def _clear_ended(self, tx: Transaction) -> None:
        """Nobody fetched them for this long: an ended job's files leave its last node, which nobody walks to."""
        retention_s, now_s = self._world.config.saga.finished_retention_s, self._world.clock.monotonic_s()
        if now_s < self._clear_at_s:
            return
        self._clear_at_s = now_s + min(max(retention_s, 1.0), CLEAR_INTERVAL_S)
        for job in tx.jobs.all(ended=True):
            age_s = (self._world.utc() - job.ended_utc).total_seconds() if job.ended_utc else 0.0
            if job.cleared or age_s < retention_s:
                continue
            tx.jobs.put(replace(job, cleared=True))
            for node_id in {run.node_id for run in tx.jobs.runs(job.job_id)}:
                self._order_release(tx, job, node_id)

    def _release_one(self, tx: Transaction, job: Job, migration: Migration) -> None:
        later = tx.migrations.open_of(job.job_id)
        if later is not None:
            return
        tx.migrations.put(replace(migration, released=True))
        kept = tx.replicas.find(job.job_id, migration.source_node) is not None and not job.state.ended
        if migration.source_node and migration.source_node != job.node_id and not kept:
            self._order_release(tx, job, migration.source_node)

    def _order_release(self, tx: Transaction, job: Job, node_id: str) -> None:
        waiting = [one for one in tx.commands.open_of_job(job.job_id) if one.node_id == node_id]
        if any(isinstance(one.order, order_model.Release) for one in waiting):
            return
        self._send(tx, orders.command(self._world, job, node_id, order_model.Release(keep_logs=True)))

    # -- agents that know more, or less

    def _adopt_newer(self, tx: Transaction, job: Job, node_id: str, report: JobReport) -> Job:
        """An agent reports an epoch above ours: this database is an old copy. Epochs go on above any that was seen."""
        log.warning("job %s: node %s reports epoch %d above %d", job.job_id, node_id, report.epoch, job.epoch)
        migration = tx.migrations.open_of(job.job_id)
        if migration is not None:
            self._saga.supersede(tx, job, migration, "an agent reported a newer epoch: this database was restored")
            job = tx.jobs.get(job.job_id)
        node = tx.nodes.get(node_id)
        self._close_run(tx, job, f"{node_id} holds it under a newer epoch")
        # Also a run that ended there is the job's newest: its end is booked by whoever called.
        job = replace(job, epoch=report.epoch, attempt=report.attempt, node_id=node_id, site=node.site)
        if not job.state.ended:
            job = replace(job, state=JobState.RUNNING, message="", started_utc=job.started_utc or self._world.utc())
        started = report.started_utc or self._world.utc()
        tx.jobs.put_run(
            model.Run(job_id=job.job_id, epoch=job.epoch, node_id=node_id, site=node.site, started_utc=started)
        )
        self._world.granted_at_s[job.job_id] = self._world.clock.boottime_s()
        tx.jobs.put(job)
        return job

    def _note_copies(self, tx: Transaction, job: Job, node_id: str, report: JobReport) -> Job:
        """Verified copies at the node; a checkpoint made under an epoch that the node did not hold is refused.

        One of an epoch that nobody is known to have held is of after this database's backup, and taken.
        """
        holders = {run.epoch: run.node_id for run in tx.jobs.runs(job.job_id)}
        elsewhere = {copy.checkpoint.manifest_digest for copy in tx.jobs.copies(job.job_id)}
        kept = [
            checkpoint
            for checkpoint in report.checkpoints
            if holders.get(checkpoint.epoch) == node_id
            or checkpoint.manifest_digest in elsewhere
            or checkpoint.epoch not in holders
        ]
        tx.jobs.set_copies(job.job_id, node_id, kept)
        if report.damaged:
            self._world.damaged[(job.job_id, node_id)] = report.damaged
        else:
            self._world.damaged.pop((job.job_id, node_id), None)
        if kept and not job.has_checkpointed:
            job = replace(job, has_checkpointed=True)
            tx.jobs.put(job)
        return job

    def _fence(self, tx: Transaction, job: Job, node_id: str, epoch: int) -> None:
        """A run under a lease that has passed on must not go on."""
        waiting = [one for one in tx.commands.open_of_job(job.job_id) if one.node_id == node_id]
        if not any(isinstance(one.order, order_model.Stop) and one.epoch >= epoch for one in waiting):
            order = order_model.Stop(grace_s=job.spec.policy.grace_s)
            self._send(tx, replace(orders.command(self._world, job, node_id, order), epoch=epoch))

    def _send(self, tx: Transaction, command: Command) -> None:
        tx.commands.add(command)
        tx.after_commit(partial(self._world.wake, command.node_id))


def _newer(known: Progress, reported: Progress) -> Progress:
    """A run that has not reported yet does not wipe what its predecessor said, nor the model's size."""
    if reported.reported_utc is None:
        return known
    return reported if reported.parameters else replace(reported, parameters=known.parameters)
