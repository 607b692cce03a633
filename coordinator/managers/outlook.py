"""What a job's transfers are expected to be, from its records; and what it learns from those that were made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from heliotrope.foundation.model import Checkpoint, CommandResult

from ..decisions import expectation, wire_model
from ..decisions.expectation import Expected, Way
from ..decisions.snapshot import HeldView
from ..decisions.wire_model import WireModel, WireSample
from ..state.database import Transaction
from ..state.model import ExpectedMove, Job, Migration, ReplicaReason, replace
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
    source, destination = _End(migration.source_node, migration.source_site), _End.destination_of(migration)
    found = _expected_between(world, tx, job, source, destination)
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


@dataclass(frozen=True)
class _End:
    """One end of a move."""

    node: str
    site: str

    @classmethod
    def destination_of(cls, migration: Migration) -> _End:
        return cls(migration.destination_node, migration.destination_site)


def _expected_between(
    world: World, tx: Transaction, job: Job, source: _End, destination: _End, there: list[Checkpoint] | None = None
) -> Expected | None:
    """Of a move between two nodes, by what lies at the destination; ``there`` is looked up where it is not given."""
    copies = tx.jobs.copies(job.job_id)
    held = [copy.checkpoint for copy in copies if copy.node_id == source.node]
    if not held:
        return None
    if there is None:
        there = [copy.checkpoint for copy in copies if copy.node_id == destination.node]
    dated = [one for one in there if one.created_utc is not None]
    path = link(tx, world.config, source.site, destination.site)
    way = Way(path.bandwidth_bytes_per_s, path.latency_s, save_s(world, job), load_s(world, job))
    base_gap_s = (base_age_s(held[0], dated[0]) or 0.0) if dated else None
    newest_age_s = age_s(world, tx, held[0], source.node)
    return expectation.expect(model_of(job, held[0]), way, held[0].state_bytes, newest_age_s, base_gap_s)


def held_views(world: World, tx: Transaction, job: Job) -> tuple[HeldView, ...]:
    """What nodes in service hold of a running job besides its own node, each with what a move there would send."""
    by_node: dict[str, list[Checkpoint]] = {}
    for copy in tx.jobs.copies(job.job_id):
        if copy.checkpoint.created_utc is not None:
            by_node.setdefault(copy.node_id, []).append(copy.checkpoint)
    own = by_node.pop(job.node_id, [])
    if not own:
        return ()
    views = []
    for node_id, there in sorted(by_node.items()):
        node = tx.nodes.find(node_id)
        if node is None or not world.in_service(node):
            continue
        found = _expected_between(world, tx, job, _End(job.node_id, job.site), _End(node_id, node.site), there)
        if found is not None:
            views.append(
                HeldView(
                    node=node_id,
                    site=node.site,
                    age_s=base_age_s(own[0], there[0]) or 0.0,
                    wire_bytes=found.standstill_wire_bytes,
                    move_wire_bytes=found.wire_bytes,
                    why=_how_it_came(tx, job, node_id),
                )
            )
    return tuple(views)


def _how_it_came(tx: Transaction, job: Job, node_id: str) -> str:
    replica = tx.replicas.find(job.job_id, node_id)
    if replica is None:
        return "of a former stay"
    return "staged ahead" if replica.reason is ReplicaReason.AHEAD else "a replica"


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
    """The job with what this verified transfer of a move says of its wire bytes."""
    return _learn(tx, job, checkpoint, base_of(tx, migration, checkpoint), result, replica=False)


def learn_replica(tx: Transaction, job: Job, node_id: str, checkpoint: Checkpoint, result: CommandResult) -> Job:
    """The same of a replica's, before it counts as a copy there."""
    held = [copy.checkpoint for copy in tx.jobs.copies(job.job_id) if copy.node_id == node_id]
    base = next((one for one in held if one.key != checkpoint.key), None)
    return _learn(tx, job, checkpoint, base, result, replica=True)


def _learn(
    tx: Transaction, job: Job, checkpoint: Checkpoint, base: Checkpoint | None, result: CommandResult, *, replica: bool
) -> Job:
    """A transfer that a cut or a repetition spread over several reports says nothing."""
    pull = result.pull
    if pull is None or pull.cuts or not pull.wire_bytes or not pull.state_bytes:
        return job
    gap_s = base_age_s(checkpoint, base)
    if base is not None and gap_s is None:
        return job
    sample = WireSample(state_bytes=pull.state_bytes, wire_bytes=pull.wire_bytes, age_s=gap_s, replica=replica)
    job = replace(job, wire_samples=wire_model.kept(job.wire_samples, sample))
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
