"""Replicas: the newest checkpoint of a running job, copied to other nodes at the interval that its job file names.

    IDLE -> (ASKING, if the newest checkpoint is older than the interval) -> PULLING -> IDLE, verified

Each replica is a row of its own beside the migrations: a state and the order that it needs are one transaction, as in
the saga, and a result that nobody waits for changes nothing. A migration of the job goes first: what is under way is
given up when one begins (the agent keeps the chunks that came), and begun again after it.

A copy that is staged ahead (:mod:`.ahead`) is a replica with another reason: sent once, and dropped as wasted when the
job went elsewhere or did not come in time.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from heliotrope.foundation import failpoints
from heliotrope.foundation.model import Checkpoint, CommandResult, JobState, MigrationStep

from ..state import order_model
from ..state.database import Transaction
from ..state.model import AheadOutcome, Copy, Job, Replica, ReplicaReason, ReplicaState, replace
from ..state.order_model import Command, Order
from . import ahead, orders, outlook, replica_places
from .ahead_books import AheadBooks
from .world import World

failpoints.register(
    *(f"replica.{state}.{moment}" for state in ("asking", "pulling", "verified") for moment in ("persist", "persisted"))
)

# How long an agent may take over an order's own timeout before it is given up.
SLACK_S = 15.0
# After so many failures in a row a node that holds nothing yet is replaced by another.
FAILURES_LIMIT = 3
DOUBLINGS_LIMIT = 16  # of the pause after a failure; long before numbers overflow


class ReplicationManager:
    """Keeps the replicas of running jobs as new as their job files ask."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._books = AheadBooks(world)

    def ensure(self, tx: Transaction) -> bool:
        jobs = {job.job_id: job for job in tx.jobs.all(ended=False)}
        for replica in tx.replicas.all():
            if replica.job_id not in jobs:
                self._drop(tx, replica, None, "the job ended")
        has_some = {replica.job_id for replica in tx.replicas.all()}
        wanting = [job for job in jobs.values() if job.spec.checkpoint.replicate_every_s > 0 or job.job_id in has_some]
        busy = self._busy_nodes(tx) if wanting else set()
        for job in wanting:
            self._ensure_job(tx, job, busy)
        return False

    def on_result(self, tx: Transaction, command: Command, result: CommandResult) -> bool:
        """Whether the order was a replica's."""
        found = [one for one in tx.replicas.of_job(command.job_id) if one.command_id == command.command_id]
        if not found:
            self.on_late_result(tx, command, result)
            return isinstance(command.order, order_model.Pull | order_model.RequestCheckpoint)
        replica = replace(found[0], command_id="", state=ReplicaState.IDLE)
        if isinstance(command.order, order_model.RequestCheckpoint):
            # Also when it was refused: what there is may still be newer than the replica.
            message = result.error.message if result.error else ""
            self._pull(tx, tx.jobs.get(command.job_id), replica, message=message)
        elif result.error is not None:
            self._failed(tx, tx.jobs.get(command.job_id), replica, result.error.message)
        else:
            assert isinstance(command.order, order_model.Pull)
            self._verified(tx, replica, command, command.order.checkpoint, result)
        return True

    def on_late_result(self, tx: Transaction, command: Command, result: CommandResult) -> None:
        """The order was given up meanwhile, but a copy that was verified is a copy, and what was sent was sent."""
        order = command.order
        if isinstance(order, order_model.Pull) and order.replica and result.error is None:
            self._note_copy(tx, command, order.checkpoint)
            self._books.sent(tx, command, result)

    # -- one job

    def _ensure_job(self, tx: Transaction, job: Job, busy: set[str]) -> None:
        replicas = self._current(tx, job)
        moving = tx.migrations.open_of(job.job_id) is not None
        if not moving and job.node_id in self._world.startup.awaited_nodes:
            return  # this process has just begun, and the holder will come back to what is under way
        if moving or job.state is not JobState.RUNNING or job.node_id not in self._world.present:
            for replica in replicas:
                self._put_off(tx, replica, "the job does not run at a connected node, or is being moved")
            return
        for replica in replicas:
            if replica.reason is ReplicaReason.AHEAD:
                self._ensure_ahead(tx, job, replica, busy)
        if job.spec.checkpoint.replicate_every_s > 0:
            self._ensure_rule(tx, job, [one for one in replicas if one.reason is ReplicaReason.RULE], busy)

    def _ensure_rule(self, tx: Transaction, job: Job, replicas: list[Replica], busy: set[str]) -> None:
        """As many and as new as the job file asks."""
        staying = [replica for replica in replicas if not replica.leaving and not self._away_for_long(replica)]
        wanted = job.spec.checkpoint.replicas
        if len(staying) < wanted:
            self._choose(tx, job, replicas)
        elif all(replica.checkpoint is not None for replica in staying):
            for replica in [*staying[wanted:], *(one for one in replicas if one not in staying)]:
                self._drop(tx, replica, job)
        for replica in staying[:wanted]:
            self._ensure_replica(tx, job, replica, busy)

    def _ensure_ahead(self, tx: Transaction, job: Job, replica: Replica, busy: set[str]) -> None:
        """Sent once, under the limit that holds then; it goes when no move to it is to be expected any more."""
        wrong = self._why_wrong(tx, job, replica)
        if wrong:
            self._drop(tx, replica, job, wrong)
        elif self._is_due(tx, job, replica, busy) and replica.checkpoint is None:
            newest = self._newest(tx, job)
            wire_bytes = outlook.model_of(job, newest).full_bytes(newest.state_bytes) if newest else 0.0
            limit = ahead.rate_limit(self._world, tx, job, replica.site, wire_bytes)
            if limit is not None:
                self._pull(tx, job, replica, rate_limit_bytes_per_s=limit)
                busy |= {replica.node_id, job.node_id}

    def _why_wrong(self, tx: Transaction, job: Job, replica: Replica) -> str:
        """Empty while the job may still go there."""
        book = tx.staged_ahead.open_at(job.job_id, replica.node_id)
        if book is not None and book.source_node != job.node_id:
            return f"the job went to node {job.node_id} at {job.site}"
        if replica.leaving:
            return "its node is being drained"
        if self._away_for_long(replica):
            return "its node is away"
        if replica.expires_utc is not None and self._world.utc() >= replica.expires_utc:
            return "the job did not go there in time, or is likelier to go elsewhere"
        return ""

    def _current(self, tx: Transaction, job: Job) -> list[Replica]:
        """The job's replicas without those whose node became its holder or was forgotten; drained ones marked."""
        found = []
        for replica in tx.replicas.of_job(job.job_id):
            node = tx.nodes.find(replica.node_id)
            if replica.node_id == job.node_id or node is None or node.forgotten:
                self._cancel(tx, replica)
                if replica.node_id == job.node_id:
                    self._books.reached(tx, replica, job)
                else:
                    self._books.close(tx, replica, AheadOutcome.WASTE, "its node was forgotten")
                tx.replicas.drop(job.job_id, replica.node_id)  # without a release: the holder needs what it has
            else:
                if replica.leaving is not node.draining:
                    replica = replace(replica, leaving=node.draining)  # noqa: PLW2901
                    tx.replicas.put(replica)
                found.append(replica)
        return found

    def _is_due(self, tx: Transaction, job: Job, replica: Replica, busy: set[str]) -> bool:
        """Whether something may begin; what has been under way for too long is given up."""
        if replica.state is not ReplicaState.IDLE:
            if self._overdue(tx, replica):
                self._cancel(tx, replica)
                self._failed(tx, job, replica, f"{replica.state} was not answered in time")
            return False
        if replica.due_utc is not None and self._world.utc() < replica.due_utc:
            return False
        # One transfer of replicas per node at a time, and none beside a move's.
        return replica.node_id in self._world.present and not {replica.node_id, job.node_id} & busy

    def _ensure_replica(self, tx: Transaction, job: Job, replica: Replica, busy: set[str]) -> None:
        if not self._is_due(tx, job, replica, busy):
            return
        if self._is_new_enough(tx, job) or job.spec.checkpoint.request == "none":
            self._pull(tx, job, replica)
        elif not any(one.state is ReplicaState.ASKING for one in tx.replicas.of_job(job.job_id)):
            timeout_s = job.spec.checkpoint.timeout_s + job.spec.policy.grace_s
            self._order(tx, job, replica, ReplicaState.ASKING, job.node_id, order_model.RequestCheckpoint(), timeout_s)
        busy |= {replica.node_id, job.node_id}

    def _pull(
        self,
        tx: Transaction,
        job: Job,
        replica: Replica,
        *,
        message: str = "",
        rate_limit_bytes_per_s: int | None = None,
    ) -> None:
        """The holder's newest checkpoint goes over, unless it is there already; under the configured limit if none is
        given."""
        newest = self._newest(tx, job)
        held = replica.checkpoint
        if newest is None or (held is not None and held.key >= newest.key):
            waiting = message or "the job made no newer checkpoint"
            self._wait(tx, replace(replica, message=waiting), self._interval_s(job, replica))
            return
        settings = self._world.config.replication
        limit = settings.rate_limit_bytes_per_s if rate_limit_bytes_per_s is None else rate_limit_bytes_per_s
        order = orders.pull_replica(self._world, tx, job, newest, replica.node_id, limit)
        timeout_s = settings.timeout_s
        replica = replace(replica, message=message)
        self._order(tx, job, replica, ReplicaState.PULLING, replica.node_id, order, timeout_s)

    def _verified(
        self, tx: Transaction, replica: Replica, command: Command, checkpoint: Checkpoint, result: CommandResult
    ) -> None:
        job = outlook.learn_replica(tx, tx.jobs.get(replica.job_id), replica.node_id, checkpoint, result)
        self._note_copy(tx, command, checkpoint)
        self._books.sent(tx, command, result)
        # From when this one was begun, so that the interval is what is promised, not the interval and the transfer.
        begun_utc = replica.since_utc or self._world.utc()
        due_utc = begun_utc + timedelta(seconds=job.spec.checkpoint.replicate_every_s)
        wire_bytes = replica.wire_bytes + (result.pull.wire_bytes if result.pull else 0)
        tx.replicas.put(
            replace(
                replica,
                checkpoint=checkpoint,
                verified_utc=self._world.utc(),
                due_utc=due_utc,
                failed_count=0,
                message="",
                wire_bytes=wire_bytes,
            )
        )
        self._mark(tx, "verified")

    def _note_copy(self, tx: Transaction, command: Command, checkpoint: Checkpoint) -> None:
        job = tx.jobs.find(command.job_id)
        if job is not None and not job.state.ended:
            tx.jobs.add_copy(Copy(job_id=job.job_id, node_id=command.node_id, checkpoint=checkpoint))

    def _failed(self, tx: Transaction, job: Job, replica: Replica, message: str) -> None:
        """Again after a while; a node that never held one is given up for another."""
        replica = replace(replica, failed_count=replica.failed_count + 1, message=message)
        if replica.failed_count >= FAILURES_LIMIT and replica.checkpoint is None:
            replica_places.refuse(self._world, job, replica.node_id, message)
            self._drop(tx, replica, job, message)
            return
        retry_s = self._world.config.replication.retry_s * 2 ** min(replica.failed_count - 1, DOUBLINGS_LIMIT)
        self._wait(tx, replica, min(retry_s, self._interval_s(job, replica)))

    def _choose(self, tx: Transaction, job: Job, replicas: list[Replica]) -> None:
        node = replica_places.choose(self._world, tx, job, {replica.node_id for replica in replicas})
        if node is None:
            return
        there = tx.replicas.find(job.job_id, node.node_id)
        if there is not None:
            self._books.close(tx, there, AheadOutcome.KEPT, "it became a replica by the job's own rule")
            tx.replicas.put(replace(there, reason=ReplicaReason.RULE, expires_utc=None))
        else:
            tx.replicas.put(Replica(job_id=job.job_id, node_id=node.node_id, site=node.site))
        tx.after_commit(self._world.changed)

    # -- what is known

    def _interval_s(self, job: Job, replica: Replica) -> float:
        """The longest pause between two tries."""
        if replica.reason is ReplicaReason.AHEAD:
            return self._world.config.stage_ahead.interval_s
        return job.spec.checkpoint.replicate_every_s

    def _newest(self, tx: Transaction, job: Job) -> Checkpoint | None:
        return next((copy.checkpoint for copy in tx.jobs.copies(job.job_id) if copy.node_id == job.node_id), None)

    def _is_new_enough(self, tx: Transaction, job: Job) -> bool:
        newest = self._newest(tx, job)
        if newest is None or newest.created_utc is None:
            return False
        age_s = (self._world.utc() - newest.created_utc).total_seconds() + tx.nodes.get(job.node_id).clock_skew_s
        return age_s < job.spec.checkpoint.replicate_every_s / 2

    def _busy_nodes(self, tx: Transaction) -> set[str]:
        """Ends of the transfers that are under way: replicas', and of moves from their staging on."""
        busy: set[str] = set()
        for replica in tx.replicas.all():
            job = tx.jobs.find(replica.job_id)
            if replica.state is ReplicaState.PULLING and job is not None:
                busy |= {replica.node_id, job.node_id}
        for migration in tx.migrations.open():
            if migration.step in (MigrationStep.STAGING, MigrationStep.QUIESCING, MigrationStep.SENDING):
                busy |= {migration.source_node, migration.destination_node}
        return busy

    def _away_for_long(self, replica: Replica) -> bool:
        if replica.node_id in self._world.present:
            return False
        since_s = self._world.absent_since_s.get(replica.node_id, self._world.started_at_s)
        return self._world.clock.boottime_s() - since_s > self._world.config.replication.away_s

    def _overdue(self, tx: Transaction, replica: Replica) -> bool:
        command = tx.commands.find(replica.command_id)
        if command is None or command.state is not order_model.CommandState.OPEN:
            return True
        return self._since(replica) > command.timeout_s + SLACK_S

    def _since(self, replica: Replica) -> float:
        since_utc: datetime = replica.since_utc or self._world.utc()
        return (self._world.utc() - since_utc).total_seconds()

    # -- writing

    def _order(
        self,
        tx: Transaction,
        job: Job,
        replica: Replica,
        state: ReplicaState,
        node_id: str,
        order: Order,
        timeout_s: float,
    ) -> None:
        command = orders.command(self._world, job, node_id, order, timeout_s=timeout_s)
        tx.commands.add(command)
        tx.after_commit(partial(self._world.wake, node_id))
        now = self._world.utc()
        tx.replicas.put(replace(replica, state=state, command_id=command.command_id, since_utc=now))
        self._books.ordered(tx, replica, command)
        self._mark(tx, state.value)

    def _wait(self, tx: Transaction, replica: Replica, wait_s: float) -> None:
        due_utc = self._world.utc() + timedelta(seconds=wait_s)
        tx.replicas.put(replace(replica, state=ReplicaState.IDLE, command_id="", due_utc=due_utc))
        tx.after_commit(self._world.changed)

    def _put_off(self, tx: Transaction, replica: Replica, message: str) -> None:
        if replica.state is not ReplicaState.IDLE:
            self._cancel(tx, replica)
            tx.replicas.put(replace(replica, state=ReplicaState.IDLE, command_id="", due_utc=None, message=message))

    def _cancel(self, tx: Transaction, replica: Replica) -> None:
        if replica.command_id:
            tx.commands.cancel(replica.command_id)

    def _drop(self, tx: Transaction, replica: Replica, job: Job | None, message: str = "") -> None:
        """Not a replica any more; its files go, unless the job ended, whose files are cleared as a whole."""
        self._cancel(tx, replica)
        self._books.close(tx, replica, AheadOutcome.WASTE, message)
        tx.replicas.drop(replica.job_id, replica.node_id)
        if job is not None:
            tx.commands.add(orders.command(self._world, job, replica.node_id, order_model.Release(keep_logs=True)))
            tx.after_commit(partial(self._world.wake, replica.node_id))
        tx.after_commit(self._world.changed)

    def _mark(self, tx: Transaction, moment: str) -> None:
        tx.before_commit(partial(failpoints.hit, f"replica.{moment}.persist"))
        tx.after_commit(partial(failpoints.hit, f"replica.{moment}.persisted"))
        tx.after_commit(self._world.changed)
