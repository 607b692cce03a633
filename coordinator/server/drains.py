"""Drains as the operator's messages: the wish as it comes in, the progress as it is shown."""

from __future__ import annotations

from datetime import datetime, timedelta

from heliotrope.foundation import wire
from heliotrope.foundation.errors import InvalidInput
from heliotrope.foundation.model import DrainMode, MigrationKind, MigrationStep
from heliotrope.v1 import operator_pb2 as pb

from ..managers import draining
from ..managers.world import World
from ..state import order_model
from ..state.database import Transaction
from ..state.model import Drain, Job, Node, StoredDecision


def wish(request: pb.DrainNodeRequest, now: datetime) -> Drain:
    """The drain that is asked for. Raises InvalidInput naming the field."""
    names = {value.number: value.name.removeprefix("DRAIN_MODE_") for value in pb.DrainMode.DESCRIPTOR.values}
    name = names.get(request.mode)
    if name is None:
        raise InvalidInput(f"field mode: {request.mode} is no mode known here; upgrade the coordinator")
    deadline_utc = None
    if request.HasField("deadline"):
        deadline_s = request.deadline.ToMilliseconds() / 1000
        if deadline_s <= 0:
            raise InvalidInput(f"field deadline: {deadline_s:g} s; it counts from now and is more than 0")
        deadline_utc = now + timedelta(seconds=deadline_s)
    mode = DrainMode.MIGRATE if name == "UNSPECIFIED" else DrainMode(name)
    return Drain(mode=mode, started_utc=now, deadline_utc=deadline_utc)


def status(world: World, tx: Transaction, node: Node) -> pb.DrainStatus | None:
    """How the emptying goes; None: the node is in service."""
    drain = node.wish
    if drain is None:
        return None
    message: pb.DrainStatus = wire.to_message(drain, pb.DrainStatus)
    message.deadline_passed = drain.deadline_utc is not None and world.utc() >= drain.deadline_utc
    message.left.extend(_left(world, tx, node, drain, job) for job in tx.jobs.on_node(node.node_id))
    stopped = [job for job in tx.jobs.all(ended=False) if not job.node_id and job.drained_from == node.node_id]
    message.stopped.extend(_stopped(tx, job) for job in stopped)
    return message


def _left(world: World, tx: Transaction, node: Node, drain: Drain, job: Job) -> pb.DrainJob:
    message = _job(tx, job)
    is_being_stopped = any(isinstance(one.order, order_model.Stop) for one in tx.commands.open_of_job(job.job_id))
    message.under_way = bool(message.migration_id) or is_being_stopped
    decision = _decision(tx, drain, job)
    message.binding = decision.binding if decision else ""
    if node.node_id not in world.present:
        message.reason = "its node is not connected: the drain goes on when it is back"
    elif is_being_stopped:
        message.reason = job.message
    else:
        wanted = draining.wish(drain.mode, drain.deadline_utc, world.utc())
        message.reason = _reason(tx, drain, job, wanted, decision)
    return message


def _reason(tx: Transaction, drain: Drain, job: Job, wanted: DrainMode, decision: StoredDecision | None) -> str:
    """What is being done about it, or why nothing can be."""
    migration = tx.migrations.open_of(job.job_id)
    if migration is not None:
        to = f" to {migration.destination_node}" if migration.destination_node else ""
        return f"{migration.kind.lower()}{to} is at {migration.step}"
    if wanted is DrainMode.LEAVE:
        return "stays until it ends"
    if wanted is DrainMode.STOP:
        return _failed_stop(tx, drain, job) or "is stopped next"
    return decision.reason if decision else "is decided about next"


def _decision(tx: Transaction, drain: Drain, job: Job) -> StoredDecision | None:
    """The newest about the job, unless it is older than the drain."""
    found = tx.decisions.latest(job.job_id)
    if found is None or drain.started_utc is None:
        return found
    return found if (found.last_utc or found.utc) >= drain.started_utc else None


def _failed_stop(tx: Transaction, drain: Drain, job: Job) -> str:
    """Why the last try to stop it for this drain did not succeed; empty: none failed."""
    last = next(iter(tx.migrations.all(job_id=job.job_id, limit=1)), None)
    if last is None or (last.kind, last.step) != (MigrationKind.PAUSE, MigrationStep.ABORTED):
        return ""
    if drain.started_utc is not None and last.steps[0].entered_utc < drain.started_utc:
        return ""
    return f"cannot be stopped: {last.message}"


def _stopped(tx: Transaction, job: Job) -> pb.DrainJob:
    message = _job(tx, job)
    message.reason = job.message
    message.under_way = bool(message.migration_id)
    return message


def _job(tx: Transaction, job: Job) -> pb.DrainJob:
    migration = tx.migrations.open_of(job.job_id)
    message: pb.DrainJob = wire.to_message(job, pb.DrainJob)
    message.job_name = job.spec.name
    message.migration_id = migration.migration_id if migration else ""
    return message
