"""What a forgotten node means for one job: nothing waits for that node, and its copies count only when it is back."""

from __future__ import annotations

from heliotrope.foundation.errors import Conflict
from heliotrope.foundation.model import JobState

from ..state.database import Transaction
from ..state.model import Job, replace
from . import orders
from .saga import Saga
from .world import World


def forget_holder(world: World, saga: Saga, tx: Transaction, job: Job, node_id: str) -> None:
    """In the transaction that forgets the node. A job that runs there is handed on by whoever watches the nodes."""
    had_copies = bool(tx.jobs.copies(job.job_id))
    tx.jobs.drop_copies(job.job_id, node_id)
    migration = tx.migrations.open_of(job.job_id)
    if migration is not None and node_id in (migration.source_node, migration.destination_node, job.node_id):
        saga.node_forgotten(tx, job, migration, node_id)
        job = tx.jobs.get(job.job_id)
    if had_copies and not job.node_id and tx.migrations.open_of(job.job_id) is None:
        _if_unreachable(world, tx, job, node_id)


def came_back(world: World, tx: Transaction, job: Job) -> bool:
    """Whether a LOST job that nobody holds can go on: a connected node showed its newest checkpoint."""
    if job.state is not JobState.LOST or job.node_id or not tx.jobs.copies(job.job_id):
        return False
    try:
        return orders.newest_copy(world, tx, job) is not None
    except Conflict:
        return False


def _if_unreachable(world: World, tx: Transaction, job: Job, node_id: str) -> None:
    """Nobody holds it, and its newest checkpoint lies on no connected node: it waits for one of them, and says so."""
    try:
        orders.newest_copy(world, tx, job)
    except Conflict as error:
        message = f"node {node_id} was forgotten; {error}"
        tx.jobs.put(replace(job, state=JobState.LOST, message=message, drained_from=""))
