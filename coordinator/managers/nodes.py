"""Nodes: who is there, what they offer, which leases they hold, and nodes that are to be emptied."""

from __future__ import annotations

import logging

from heliotrope.foundation.errors import Conflict
from heliotrope.foundation.model import JobState, MigrationKind, Progress

from ..state import order_model
from ..state.database import Transaction
from ..state.model import Job, Node, replace
from . import forgetting, orders
from .losses import LossBook
from .saga import Saga
from .world import Presence, World

log = logging.getLogger("heliotrope.coordinator.nodes")


class NodeManager:
    """Keeps the register of nodes and answers their heartbeats."""

    def __init__(self, world: World, saga: Saga) -> None:
        self._world = world
        self._saga = saga
        self._losses = LossBook(world)

    def on_hello(self, tx: Transaction, node: Node, session_id: str, handover_count: int = 0) -> Node:
        """A node is (again) there; operators' wishes about it outlive its absence.

        A forgotten one may talk, so that what it still runs is fenced, and is given nothing until it is readmitted.
        ``handover_count``: the highest it was told; above our own this database is a backup of before.
        """
        self._compare(tx, node.node_id, handover_count)
        known = tx.nodes.find(node.node_id)
        if known is not None:
            node = replace(
                node,
                draining=known.draining,
                drain_message=known.drain_message,
                drain=known.drain,
                forgotten=known.forgotten,
            )
        tx.nodes.put(node)
        self._world.present[node.node_id] = Presence(
            session_id=session_id,
            disk_free_bytes=node.inventory.disk_free_bytes,
            heard_utc=self._world.utc(),
        )
        self._world.absent_since_s.pop(node.node_id, None)
        tx.after_commit(self._world.changed)
        return node

    def _compare(self, tx: Transaction, node_id: str, handover_count: int) -> None:
        startup = self._world.startup
        startup.awaited_nodes.discard(node_id)
        if handover_count <= max(tx.marks.handover_count(), startup.handover_count):
            return
        startup.handover_count, startup.restored = handover_count, True
        log.warning(
            "node %s knows of %d hand-overs, this database of %d: it is an old backup; jobs that may run elsewhere "
            "wait for their nodes, or for a lease",
            node_id,
            handover_count,
            tx.marks.handover_count(),
        )

    def on_gone(self, tx: Transaction, node_id: str, session_id: str) -> None:
        """A session ended; a newer one of the same node may already be there and stays."""
        present = self._world.present.get(node_id)
        if present is None or present.session_id != session_id:
            return
        del self._world.present[node_id]
        self._world.absent_since_s[node_id] = self._world.clock.boottime_s()
        node = tx.nodes.get(node_id)
        tx.nodes.put(replace(node, last_seen_utc=present.heard_utc or self._world.utc()))
        tx.after_commit(self._world.changed)

    def grant(
        self, tx: Transaction, node_id: str, leases: list[tuple[str, int]]
    ) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """(granted, refused). A lease of a job unknown here is neither: this database may be an old backup."""
        granted: list[tuple[str, int]] = []
        refused: list[tuple[str, int]] = []
        now_s = self._world.clock.boottime_s()
        for job_id, epoch in leases:
            job = tx.jobs.find(job_id)
            if job is None:
                continue
            if job.epoch == epoch and job.node_id == node_id and not job.state.ended:
                self._world.granted_at_s[job_id] = now_s
                granted.append((job_id, epoch))
            elif epoch <= job.epoch:
                refused.append((job_id, epoch))
        return granted, refused

    def ensure(self, tx: Transaction) -> bool:
        """Hand on the jobs of nodes that are surely gone: forgotten by an operator, or silent past the lease."""
        self._settle(tx)
        advanced = False
        for job in tx.jobs.all(ended=False):
            if forgetting.came_back(self._world, tx, job):
                tx.jobs.put(replace(job, state=JobState.PENDING, message="its checkpoint came back"))
                advanced = True
            if job.state not in (JobState.RUNNING, JobState.LOST) or not job.node_id:
                continue
            if job.node_id in self._world.present or tx.migrations.open_of(job.job_id) is not None:
                continue
            node = tx.nodes.find(job.node_id)
            gone = node is None or node.forgotten
            if gone or job.state is JobState.LOST or self._world.lease_ended(job):
                why = "forgotten" if gone else "silent past the lease"
                advanced = self._hand_on(tx, job, f"its node {job.node_id} is {why}") or advanced
        return advanced

    def forget(self, tx: Transaction, node: Node) -> Node:
        """The node's jobs will never run on there. Raises Conflict while it is connected.

        Its jobs go on at once from the newest checkpoint that another node holds. One that never wrote a checkpoint
        starts again from its beginning, as far as policy.restart_limit allows; any other is LOST.
        """
        if node.node_id in self._world.present:
            raise Conflict(
                f"cannot forget node {node.node_id}: it is connected; stop its agent first, or empty it: "
                f"heliotrope node drain {node.node_id}"
            )
        node = replace(node, forgotten=True, draining=False, drain_message="", drain=None)
        tx.nodes.put(node)
        for job in tx.jobs.all(ended=False):
            forgetting.forget_holder(self._world, self._saga, tx, job, node.node_id)
        tx.after_commit(self._world.changed)
        return node

    def readmit(self, tx: Transaction, node: Node) -> Node:
        """A forgotten node may be given jobs again; those that it lost stay where they are."""
        node = replace(node, forgotten=False)
        tx.nodes.put(node)
        tx.after_commit(self._world.changed)
        return node

    def _settle(self, tx: Transaction) -> None:
        """After a start: strike off the nodes that are not waited for, and end the doubt about a restored database."""
        startup = self._world.startup
        if startup.awaited_nodes:
            startup.awaited_nodes &= {node.node_id for node in tx.nodes.all() if not node.forgotten}
        waited_s = self._world.clock.boottime_s() - self._world.started_at_s
        if startup.restored and not startup.awaited_nodes and waited_s > self._world.config.saga.settle_s:
            tx.marks.raise_handover_count(startup.handover_count)
            startup.restored = False
            log.warning("every known node has come back: the restored database is acted upon again")

    def _hand_on(self, tx: Transaction, job: Job, why: str) -> bool:
        """Recover from the newest copy that can be reached; without one wait, or begin again where that is allowed."""
        self._losses.open(tx, job, why)
        try:
            copy = orders.newest_copy(self._world, tx, job)
        except Conflict as error:
            return self._lost(tx, job, str(error), why)
        if copy is None:
            self._begin_again(tx, job, why)
        else:
            log.warning("job %s: %s; it goes on from the copy at %s", job.job_id, why, copy.node_id)
            self._saga.begin(tx, MigrationKind.RECOVER, job, None, cause=why)
        return True

    def _lost(self, tx: Transaction, job: Job, message: str, why: str) -> bool:
        """It waits for a copy. Nobody holds it any more if its node was forgotten: what still runs there is fenced."""
        node = tx.nodes.find(job.node_id)
        lost = replace(job, state=JobState.LOST, message=message)
        if node is None or node.forgotten:
            self._close_run(tx, job, why)
            lost = replace(lost, node_id="", drained_from="")
        if lost == job:
            return False
        tx.jobs.put(lost)
        return True

    def _begin_again(self, tx: Transaction, job: Job, why: str) -> None:
        self._close_run(tx, job, why)
        message = f"{why}, and it has no checkpoint: it begins again"
        tx.jobs.put(replace(job, state=JobState.PENDING, node_id="", message=message, progress=Progress()))
        # Whatever the node still holds of it is of a run that nobody goes on from.
        tx.commands.add(orders.command(self._world, job, job.node_id, order_model.Release(keep_logs=True)))

    def _close_run(self, tx: Transaction, job: Job, why: str) -> None:
        run = tx.jobs.run(job.job_id, job.epoch)
        if run is not None and run.ended_utc is None:
            tx.jobs.put_run(replace(run, ended_utc=self._world.utc(), end_reason=why))
