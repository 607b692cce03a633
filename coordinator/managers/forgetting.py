"""What a forgotten node means for one job: nothing waits for that node, and its copies do not count any more."""

from __future__ import annotations

from heliotrope.foundation.errors import Conflict
from heliotrope.foundation.model import JobState

from ..state.database import Transaction
from ..state.model import Job, replace
from . import orders
from .saga import Saga
from .world import World


def forget_holder(world: World, saga: Saga, tx: Transaction, job: Job, node_id: str) -> None:
    """In the transaction that forgets the node. A job that has another copy is handed on by whoever watches nodes."""
    had_copies = bool(tx.jobs.copies(job.job_id))
    tx.jobs.drop_copies(job.job_id, node_id)
    migration = tx.migrations.open_of(job.job_id)
    if migration is not None and node_id in (migration.source_node, migration.destination_node, job.node_id):
        saga.node_forgotten(tx, job, migration, node_id)
        job = tx.jobs.get(job.job_id)
        if tx.migrations.open_of(job.job_id) is not None:
            return  # the saga goes on with it, from the copies that are left
    has_copies = bool(tx.jobs.copies(job.job_id))
    if job.node_id == node_id and not has_copies:
        _without_copies(world, tx, job, node_id, had_copies=had_copies)
    elif job.node_id == node_id:
        _if_unreachable(world, tx, job, node_id)
    elif not job.node_id and had_copies and not has_copies:
        _without_copies(world, tx, job, node_id, had_copies=True)


def came_back(world: World, tx: Transaction, job: Job) -> bool:
    """Whether a LOST job that nobody holds can go on: a connected node showed its newest checkpoint."""
    if job.state is not JobState.LOST or job.node_id or not tx.jobs.copies(job.job_id):
        return False
    try:
        return orders.newest_copy(world, tx, job) is not None
    except Conflict:
        return False


def _without_copies(world: World, tx: Transaction, job: Job, node_id: str, *, had_copies: bool) -> None:
    limit = job.spec.policy.restart_limit
    if had_copies:
        why = (
            f"node {node_id} was forgotten and held its only checkpoints; they count again when that node comes back "
            "(it stays fenced); else cancel the job and submit it again"
        )
    elif job.restart_count < limit:
        why = f"node {node_id} was forgotten and the job had written no checkpoint: it starts from its beginning"
        _leave(world, tx, replace(job, restart_count=job.restart_count + 1), JobState.PENDING, why)
        return
    else:
        why = (
            f"node {node_id} was forgotten, the job had written no checkpoint, and it was restarted "
            f"{job.restart_count} times, the limit of policy.restart_limit; cancel it and submit it again"
        )
    _leave(world, tx, job, JobState.LOST, why)


def _if_unreachable(world: World, tx: Transaction, job: Job, node_id: str) -> None:
    """Its newest checkpoint lies only on other nodes that are away: it waits for one of them, and says so."""
    try:
        orders.newest_copy(world, tx, job)
    except Conflict as error:
        _leave(world, tx, job, JobState.LOST, f"node {node_id} was forgotten; {error}")


def _leave(world: World, tx: Transaction, job: Job, state: JobState, message: str) -> None:
    """Nobody holds the job: if that node still runs it, its lease is refused and its run fenced."""
    run = tx.jobs.run(job.job_id, job.epoch)
    if run is not None and run.ended_utc is None:
        tx.jobs.put_run(replace(run, ended_utc=world.utc(), end_reason=message))
    tx.jobs.put(replace(job, state=state, node_id="", message=message, drained_from=""))
