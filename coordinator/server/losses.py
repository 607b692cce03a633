"""Losses as the operator's messages, with what only the ledger and the clock can say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration

from heliotrope.foundation import wire
from heliotrope.v1 import operator_pb2 as pb

from ..managers.world import World
from ..state.database import Transaction
from ..state.model import Job, Loss


def loss(world: World, tx: Transaction, job: Job, found: Loss) -> pb.Loss:
    """Steps, work, time and energy that went with a run. An outage that goes on lasts until now."""
    message: pb.Loss = wire.to_message(found, pb.Loss)
    until = found.resumed_utc or job.ended_utc or world.utc()
    _set_span(message.outage, (until - found.last_seen_utc).total_seconds())
    if found.outcome in ("waiting", "returned"):
        return message  # what is lost is not known yet, or nothing
    begun = _begun(tx, found)
    _set_span(message.lost_work, (found.last_seen_utc - begun).total_seconds())
    steps = _lost_steps(found)
    if steps is not None:
        message.lost_steps = steps
    energy_j = _energy_j(world, tx, found, begun)
    if energy_j is not None:
        message.lost_energy_j = energy_j
    return message


def _begun(tx: Transaction, found: Loss) -> datetime:
    """From when on the work was lost: the checkpoint's making, or the run's start if it was later or there is none."""
    runs = tx.jobs.runs(found.job_id)
    if found.checkpoint is None or found.checkpoint.created_utc is None:
        return min((run.started_utc for run in runs), default=found.last_seen_utc)
    maker = next((run for run in runs if run.epoch == found.checkpoint.epoch), None)
    node = tx.nodes.find(maker.node_id) if maker else None
    return found.checkpoint.created_utc - timedelta(seconds=node.clock_skew_s if node else 0.0)


def _lost_steps(found: Loss) -> int | None:
    """None where the job reported no steps, or its checkpoint says none."""
    if found.last_step is None or (found.checkpoint is not None and not found.checkpoint.step):
        return None
    return max(found.last_step - (found.checkpoint.step if found.checkpoint else 0), 0)


def _energy_j(world: World, tx: Transaction, found: Loss, begun: datetime) -> float | None:
    """The lost run's booked energy since ``begun``; of an interval that began before, by the run's time in it."""
    run = tx.jobs.run(found.job_id, found.epoch)
    if run is None:
        return None
    length = timedelta(seconds=world.config.ledger.interval_s)
    start_ms = round((begun - length).timestamp() * 1000)
    total_j, booked = 0.0, False
    closed = tx.ledger.of_job(found.job_id, start_ms)
    for interval in (*closed, *tx.open_energy.of_job(found.job_id, start_ms)):
        interval_utc = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=interval.start_ms)
        start = max(interval_utc, run.started_utc)
        end = min(interval_utc + length, found.resumed_utc or world.utc())
        if interval.node_id != found.node_id or end <= start:
            continue
        lost = (end - max(start, begun)).total_seconds() / (end - start).total_seconds()
        total_j, booked = total_j + interval.energy_uj / 1e6 * max(min(lost, 1.0), 0.0), True
    return total_j if booked else None


def _set_span(span: Duration, seconds: float) -> None:
    span.FromMilliseconds(round(max(seconds, 0.0) * 1000))
