"""Damaged checkpoints: their nodes say which, and are ordered to mend them from a node that holds them whole."""

from __future__ import annotations

import logging
from functools import partial

from heliotrope.foundation.model import Checkpoint

from ..state import order_model
from ..state.database import Transaction
from ..state.model import Job
from . import orders
from .world import TicketRequest, World, new_id

log = logging.getLogger("heliotrope.coordinator.repairs")

# A peer that failed may do better later, and one that holds a copy may come back.
RETRY_S = 60.0


class RepairManager:
    """Keeps nothing on disk: nodes say again what is damaged, and an order that is open stays in the outbox."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ordered: dict[tuple[str, str, tuple[int, int]], tuple[str, float]] = {}

    def ensure(self, tx: Transaction) -> bool:
        for (job_id, node_id), damaged in self._world.damaged.items():
            job = tx.jobs.find(job_id)
            if job is None or job.cleared or node_id not in self._world.present:
                continue
            for checkpoint in damaged:
                self._ensure_one(tx, job, node_id, checkpoint)
        return False

    def _ensure_one(self, tx: Transaction, job: Job, node_id: str, checkpoint: Checkpoint) -> None:
        """The node is told once where to mend it, again when another node holds it, and again after a while."""
        source = self._source(tx, job, node_id, checkpoint)
        key, now_s = (job.job_id, node_id, checkpoint.key), self._world.clock.monotonic_s()
        before, again_s = self._ordered.get(key, ("?", 0.0))
        if (source == before and now_s < again_s) or self._is_open(tx, job, node_id, checkpoint):
            return
        self._ordered[key] = (source, now_s + RETRY_S)
        log.warning(
            "job %s: checkpoint %d.%d is damaged on %s; %s",
            job.job_id,
            *checkpoint.key,
            node_id,
            f"it is mended from {source}" if source else "no connected node holds it whole",
        )
        timeout_s = self._world.config.saga.sending_timeout_s
        order = self._order(tx, job, node_id, checkpoint, source)
        tx.commands.add(orders.command(self._world, job, node_id, order, timeout_s=timeout_s))
        tx.after_commit(partial(self._world.wake, node_id))

    def _source(self, tx: Transaction, job: Job, node_id: str, checkpoint: Checkpoint) -> str:
        """A connected node with the very same bytes; empty if there is none."""
        holders = [
            copy.node_id
            for copy in tx.jobs.copies(job.job_id)
            if copy.checkpoint.key == checkpoint.key
            and copy.checkpoint.manifest_digest == checkpoint.manifest_digest
            and copy.node_id != node_id
            and copy.node_id in self._world.present
        ]
        return min(holders, default="")

    def _is_open(self, tx: Transaction, job: Job, node_id: str, checkpoint: Checkpoint) -> bool:
        return any(
            one.node_id == node_id
            and isinstance(one.order, order_model.Repair)
            and one.order.checkpoint.key == checkpoint.key
            for one in tx.commands.open_of_job(job.job_id)
        )

    def _order(
        self, tx: Transaction, job: Job, node_id: str, checkpoint: Checkpoint, source: str
    ) -> order_model.Repair:
        if not source:
            return order_model.Repair(checkpoint=checkpoint)
        ticket = self._world.sign_ticket(
            TicketRequest(
                job_id=job.job_id,
                migration_id=new_id("r"),
                epoch=job.epoch,
                source_node=source,
                destination_node=node_id,
                byte_limit=orders.ticket_bytes(checkpoint.state_bytes),
                lifetime_s=self._world.config.saga.sending_timeout_s,
            )
        )
        addresses = tx.nodes.get(source).inventory.transfer_addresses
        return order_model.Repair(checkpoint=checkpoint, source_addresses=addresses, source_node=source, ticket=ticket)
