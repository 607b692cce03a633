"""What a job's transfers are expected to be, from its records; and what it learns from those that were made."""

from __future__ import annotations

from datetime import timedelta

from heliotrope.foundation.model import Checkpoint, CommandResult

from ..decisions import expectation, wire_model
from ..decisions.expectation import Expected, Way
from ..decisions.wire_model import WireModel, WireSample
from ..state.database import Transaction
from ..state.model import ExpectedMove, Job, Migration, replace
from .links import link
from .world import World


def model_of(job: Job, newest: Checkpoint) -> WireModel:
    """The job's own figures, its newest checkpoint's frozen share, else the prior."""
    return wire_model.fit(job.wire_samples, _unchanged_ratio(newest))


def _unchanged_ratio(checkpoint: Checkpoint) -> float | None:
    if checkpoint.unchanged_bytes is None or not checkpoint.state_bytes:
        return None
    return min(checkpoint.unchanged_bytes / checkpoint.state_bytes, 1.0)


def age_s(world: World, tx: Transaction, checkpoint: Checkpoint, node_id: str) -> float:
    """Seconds since the checkpoint was made at ``node_id``, on this coordinator's clock; 0 where it is unknown."""
    if checkpoint.created_utc is None:
        return 0.0
    node = tx.nodes.find(node_id)
    made_utc = checkpoint.created_utc - timedelta(seconds=node.clock_skew_s if node else 0.0)
    return max((world.utc() - made_utc).total_seconds(), 0.0)


def save_s(world: World, job: Job) -> float:
    return world.config.planner.assumed_save_s if job.save_s is None else job.save_s


def load_s(world: World, job: Job) -> float:
    return world.config.planner.assumed_load_s if job.load_s is None else job.load_s


def base_of(tx: Transaction, migration: Migration, checkpoint: Checkpoint) -> Checkpoint | None:
    """What a delta of ``checkpoint`` is made against: the newest that the destination holds besides it."""
    held = [copy.checkpoint for copy in tx.jobs.copies(migration.job_id) if copy.node_id == migration.destination_node]
    known = [one for one in (*held, migration.staged) if one is not None and one.key != checkpoint.key]
    return max(known, key=lambda one: one.key, default=None)


def base_age_s(checkpoint: Checkpoint, base: Checkpoint | None) -> float | None:
    """How much older the base is; None for a full copy, and where a time is unknown."""
    if base is None or base.created_utc is None or checkpoint.created_utc is None:
        return None
    return max((checkpoint.created_utc - base.created_utc).total_seconds(), 0.0)


def expected_move(world: World, tx: Transaction, job: Job, migration: Migration) -> ExpectedMove | None:
    """Before a move: its bytes and standstill, with how far off such expectations of this job were; None: unknown."""
    held = [copy.checkpoint for copy in tx.jobs.copies(job.job_id) if copy.node_id == migration.source_node]
    if not held:
        return None
    path = link(tx, world.config, migration.source_site, migration.destination_site)
    way = Way(path.bandwidth_bytes_per_s, path.latency_s, save_s(world, job), load_s(world, job))
    there = [
        copy.checkpoint
        for copy in tx.jobs.copies(job.job_id)
        if copy.node_id == migration.destination_node and copy.checkpoint.created_utc is not None
    ]
    base_gap_s = (base_age_s(held[0], there[0]) or 0.0) if there else None
    newest_age_s = age_s(world, tx, held[0], migration.source_node)
    found = expectation.expect(model_of(job, held[0]), way, held[0].state_bytes, newest_age_s, base_gap_s)
    if found is None:
        return None
    errors = job.standstill_errors
    return ExpectedMove(
        wire_bytes=found.wire_bytes,
        standstill_wire_bytes=found.standstill_wire_bytes,
        staging_s=found.staging_s,
        standstill_s=found.standstill_s,
        error_count=errors.count,
        error_mean=errors.mean,
        error_spread=errors.spread,
    )


def expected_of(
    world: World, tx: Transaction, job: Job, held: list[Checkpoint], bandwidth_bytes_per_s: float
) -> Expected | None:
    """Of a move to where nothing of the job is, over a link of that bandwidth; ``held`` by its node, newest first."""
    if not held:
        return None
    way = Way(bandwidth_bytes_per_s, 0.0, save_s(world, job), load_s(world, job))
    newest_age_s = age_s(world, tx, held[0], job.node_id)
    return expectation.expect(model_of(job, held[0]), way, held[0].state_bytes, newest_age_s, None)


def learn_transfer(
    tx: Transaction, job: Job, migration: Migration, checkpoint: Checkpoint, result: CommandResult
) -> Job:
    """The job with what this verified transfer says of its wire bytes. A transfer that a cut or a repetition spread
    over several reports says nothing."""
    pull = result.pull
    if pull is None or pull.cuts or not pull.wire_bytes or not pull.state_bytes:
        return job
    base = base_of(tx, migration, checkpoint)
    gap_s = base_age_s(checkpoint, base)
    if base is not None and gap_s is None:
        return job
    sample = WireSample(state_bytes=pull.state_bytes, wire_bytes=pull.wire_bytes, age_s=gap_s)
    job = replace(job, wire_samples=(*job.wire_samples, sample)[-wire_model.SAMPLES_KEPT :])
    tx.jobs.put(job)
    return job


def learn_move(job: Job, migration: Migration) -> Job:
    """The job with how far its finished move was from what had been expected."""
    expected, standstill_s = migration.expected, migration.standstill_s
    if expected is None or standstill_s is None:
        return job
    return replace(
        job,
        standstill_errors=expectation.learn(job.standstill_errors, expected.standstill_s, standstill_s),
        wire_errors=expectation.learn(job.wire_errors, expected.wire_bytes, migration.wire_bytes),
    )
