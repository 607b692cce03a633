"""Drains: an operator's wish that a node be emptied, brought about job by job.

In mode MIGRATE the planner moves the jobs (:mod:`.planner`); here is what no plan brings: jobs are stopped with a last
checkpoint, moves that nobody wants any more are called back, and it is noted when nothing is left. All of it follows
from the records, so that a restarted coordinator goes on where it was.
"""

from __future__ import annotations

import logging
from functools import partial

from heliotrope.foundation.errors import Conflict, DeadlineExceeded
from heliotrope.foundation.model import DrainMode, JobState, MigrationKind, MigrationStep

from ..state import order_model
from ..state.database import Transaction
from ..state.model import Drain, Job, Migration, Node, Wanted, replace
from . import draining, orders
from .draining import Do, Leaving, Underway
from .saga import Saga
from .world import World

log = logging.getLogger("heliotrope.coordinator.drains")

CAUSE = "drain"


class DrainManager:
    """Empties the nodes that are to be emptied."""

    def __init__(self, world: World, saga: Saga) -> None:
        self._world = world
        self._saga = saga
        # When the next stop of a job may be tried (monotonic): some fail at once, and would fail as fast again.
        self._next_stop_s: dict[str, float] = {}

    def ensure(self, tx: Transaction) -> bool:
        advanced = False
        for node in tx.nodes.all():
            if node.draining:
                advanced = self._empty(tx, node) or advanced
        return self._call_back_of_nodes_in_service(tx) or advanced

    def begin(self, tx: Transaction, node: Node, drain: Drain, message: str) -> Node:
        """A newer wish takes the place of an older one. Raises Conflict for a forgotten node."""
        if node.forgotten:
            raise Conflict(
                f"cannot drain node {node.node_id}: it was forgotten and takes no jobs; "
                f"heliotrope node readmit {node.node_id} takes it back"
            )
        node = replace(node, draining=True, drain_message=message, drain=drain)
        tx.nodes.put(node)
        tx.after_commit(self._world.changed)
        return node

    def end(self, tx: Transaction, node: Node) -> Node:
        """Back into service; what the drain had begun and can be called back, is."""
        node = replace(node, draining=False, drain_message="", drain=None)
        tx.nodes.put(node)
        tx.after_commit(self._world.changed)
        return node

    def _empty(self, tx: Transaction, node: Node) -> bool:
        drain = node.wish
        assert drain is not None
        wanted = draining.wish(drain.mode, drain.deadline_utc, self._world.utc())
        advanced = False
        held = {job.job_id: job for job in tx.jobs.on_node(node.node_id)}
        touching = [one for one in tx.migrations.open() if node.node_id in (one.source_node, one.destination_node)]
        if node.node_id in self._world.present:  # orders to a node that is away would only grow old
            held |= {one.job_id: tx.jobs.get(one.job_id) for one in touching}
            for job in held.values():
                advanced = self._one(tx, node, wanted, job) or advanced
        is_done = not held and not touching
        if is_done != (drain.done_utc is not None):
            done_utc = self._world.utc() if is_done else None
            tx.nodes.put(replace(tx.nodes.get(node.node_id), drain=replace(drain, done_utc=done_utc)))
            tx.after_commit(self._world.changed)
            log.info("node %s: %s", node.node_id, "drained" if is_done else "holds jobs again while it is drained")
        return advanced

    def _one(self, tx: Transaction, node: Node, wanted: DrainMode, job: Job) -> bool:
        migration = tx.migrations.open_of(job.job_id)
        todo = draining.next_for(wanted, self._leaving(tx, node, job, migration))
        if todo is Do.CALL_BACK and migration is not None:
            return self._saga.cancel(tx, job, migration, f"node {node.node_id} is being drained")
        if todo is Do.STOP:
            return self._stop(tx, job)
        if todo is Do.KILL:
            self._kill(tx, node, job)
        return False

    def _leaving(self, tx: Transaction, node: Node, job: Job, migration: Migration | None) -> Leaving:
        underway = None
        if migration is not None:
            underway = Underway(
                kind=migration.kind,
                step=migration.step,
                is_arriving=migration.destination_node == node.node_id,
                is_of_drain=migration.cause == CAUSE,
            )
        return Leaving(
            is_running=job.state is JobState.RUNNING and job.wanted is Wanted.RUN and job.node_id == node.node_id,
            underway=underway,
            is_stop_refused=self._world.clock.monotonic_s() < self._next_stop_s.get(job.job_id, 0.0),
            is_checkpoint_timed_out=self._timed_out(tx, node, job),
            is_kill_ordered=job.drained_from != "",
        )

    def _timed_out(self, tx: Transaction, node: Node, job: Job) -> bool:
        """Whether the agent itself reported that no last checkpoint came; an agent that was away reports nothing."""
        drain = node.wish
        found = tx.migrations.all(job_id=job.job_id, limit=1)
        if not found or drain is None:
            return False
        last = found[0]
        is_of_this_drain = drain.started_utc is None or last.steps[0].entered_utc >= drain.started_utc
        return (
            is_of_this_drain
            and (last.kind, last.step, last.cause) == (MigrationKind.PAUSE, MigrationStep.ABORTED, CAUSE)
            and last.epoch == job.epoch
            and last.error_kind == DeadlineExceeded.__name__
        )

    def _stop(self, tx: Transaction, job: Job) -> bool:
        pause_s = self._world.config.planner.placement_backoff_s
        self._next_stop_s[job.job_id] = self._world.clock.monotonic_s() + pause_s
        try:
            self._saga.begin(tx, MigrationKind.PAUSE, job, None, cause=CAUSE)
        except Conflict:
            return False
        return True

    def _kill(self, tx: Transaction, node: Node, job: Job) -> None:
        """Without its last checkpoint, because none came in time; the steps since the newest one are done again."""
        step = next((f"its checkpoint of step {one.checkpoint.step}" for one in tx.jobs.copies(job.job_id)), "")
        message = (
            f"stopped for the drain of node {node.node_id} without a last checkpoint, which did not come in time; "
            f"goes on from {step or 'its beginning, as it never wrote one'}"
        )
        log.warning("job %s: %s", job.job_id, message)
        tx.jobs.put(replace(job, drained_from=node.node_id, message=message))
        tx.commands.add(
            orders.command(self._world, job, node.node_id, order_model.Stop(grace_s=job.spec.policy.grace_s))
        )
        tx.after_commit(partial(self._world.wake, node.node_id))

    def _call_back_of_nodes_in_service(self, tx: Transaction) -> bool:
        """A node was taken back into service with moves or stops of its drain still open."""
        advanced = False
        for migration in tx.migrations.open():
            node = tx.nodes.find(migration.source_node) if migration.cause == CAUSE else None
            if node is None or node.draining:
                continue
            job = tx.jobs.get(migration.job_id)
            if draining.next_for(None, self._leaving(tx, node, job, migration)) is Do.CALL_BACK:
                cancelled = self._saga.cancel(tx, job, migration, f"node {node.node_id} is back in service")
                advanced = cancelled or advanced
        return advanced
