"""Nodes: who is there, what they offer, which leases they hold, and nodes that are to be emptied."""

from __future__ import annotations

import logging

from heliotrope.foundation.errors import Conflict
from heliotrope.foundation.model import JobState, MigrationKind

from ..state.database import Transaction
from ..state.model import Job, Node, replace
from . import forgetting
from .saga import Saga
from .world import Presence, World

log = logging.getLogger("heliotrope.coordinator.nodes")


class NodeManager:
    """Keeps the register of nodes and answers their heartbeats."""

    def __init__(self, world: World, saga: Saga) -> None:
        self._world = world
        self._saga = saga

    def on_hello(self, tx: Transaction, node: Node, session_id: str) -> Node:
        """A node is (again) there; operators' wishes about it outlive its absence.

        A forgotten one may talk, so that what it still runs is fenced, and is given nothing until it is readmitted.
        """
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
            session_id=session_id, disk_free_bytes=node.inventory.disk_free_bytes
        )
        tx.after_commit(self._world.changed)
        return node

    def on_gone(self, tx: Transaction, node_id: str, session_id: str) -> None:
        """A session ended; a newer one of the same node may already be there and stays."""
        present = self._world.present.get(node_id)
        if present is None or present.session_id != session_id:
            return
        del self._world.present[node_id]
        node = tx.nodes.get(node_id)
        tx.nodes.put(replace(node, last_seen_utc=self._world.utc()))
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
        advanced = False
        for job in tx.jobs.all(ended=False):
            if forgetting.came_back(self._world, tx, job):
                tx.jobs.put(replace(job, state=JobState.PENDING, message="its checkpoint came back"))
                advanced = True
            if job.state is not JobState.RUNNING or job.node_id in self._world.present or not job.node_id:
                continue
            node = tx.nodes.find(job.node_id)
            gone = node is None or node.forgotten  # of a forgotten one's jobs, those that a migration still held
            if (gone or self._world.lease_ended(job)) and tx.migrations.open_of(job.job_id) is None:
                advanced = self._hand_on(tx, job, "forgotten" if gone else "silent past the lease") or advanced
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

    def _hand_on(self, tx: Transaction, job: Job, why: str) -> bool:
        holder = job.node_id
        if not any(copy.node_id in self._world.present for copy in tx.jobs.copies(job.job_id)):
            message = f"its node {holder} is {why} and no connected node holds a checkpoint of it"
            tx.jobs.put(replace(job, state=JobState.LOST, message=message))
            return True
        log.warning("job %s: node %s is %s; recovering from the newest copy", job.job_id, holder, why)
        self._saga.begin(tx, MigrationKind.RECOVER, job, None, cause=f"node {holder} is {why}")
        return True
