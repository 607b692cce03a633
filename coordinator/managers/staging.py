"""STAGING: rounds of pre-copy while the job runs, as long as another one saves more standstill than it costs.

Each round is a Pull of one checkpoint: first of the newest that the source holds, then of fresh ones that are asked
for. Its figures and why another followed, or why not, are kept with the migration; all state is there, so that a crash
at any moment leaves an order in the outbox, as with every step.
"""

from __future__ import annotations

from heliotrope.foundation.errors import Conflict
from heliotrope.foundation.model import Checkpoint, CommandResult, MigrationStep

from ..decisions import precopy
from ..decisions.precopy import Standing, Verdict
from ..state import model, order_model
from ..state.database import Transaction
from ..state.model import Job, Migration, Round, replace
from ..state.order_model import Order
from . import orders, outlook
from .links import link
from .transitions import SAMPLE_BYTES, Transitions
from .world import World

# How often what a round asked for may be gone at the source before the move is given up.
LOST_LIMIT = 5


class Staging:
    """Orders rounds and books them."""

    def __init__(self, world: World, steps: Transitions) -> None:
        self._world = world
        self._steps = steps

    def begin(self, tx: Transaction, job: Job, migration: Migration, *, note: str = "") -> None:
        """The newest checkpoint goes over while the job runs; without one, ask for it first."""
        held = _held(tx, job, migration)
        if held:
            self._pull(tx, job, migration, held[0], note=note)
        else:
            self._request(tx, job, migration, note=note)

    def begins_again(self, migration: Migration) -> bool:
        """The job runs on while it is staged, and its source may have let go of what was asked for: take the newest."""
        entered = sum(record.step is MigrationStep.STAGING for record in migration.steps)
        return migration.step is MigrationStep.STAGING and entered < LOST_LIMIT + 2 * len(migration.rounds)

    def requested(self, tx: Transaction, job: Job, migration: Migration, result: CommandResult) -> None:
        """The checkpoint that was asked for is whole. Raises Conflict when the agent named none."""
        if result.checkpoint is None:
            raise Conflict("the source reported that a checkpoint is whole but did not name it")
        tx.jobs.add_copy(model.Copy(job_id=job.job_id, node_id=migration.source_node, checkpoint=result.checkpoint))
        self._pull(tx, job, migration, result.checkpoint)

    def arrived(
        self, tx: Transaction, job: Job, migration: Migration, pulled: Checkpoint, result: CommandResult
    ) -> tuple[Migration, str]:
        """Book the round and order the next one; where none follows, the migration and the reason to stop the job."""
        job = outlook.learn_transfer(tx, job, migration, pulled, result)
        one = _round(tx, migration, pulled, result)
        migration = self._steps.count_pull(tx, migration, result, standstill=False)
        migration = replace(migration, rounds=(*migration.rounds, replace(one, ended_utc=self._world.utc())))
        verdict = precopy.decide(self._standing(tx, job, migration, pulled, one))
        booked = replace(migration.rounds[-1], left_bytes=round(verdict.left_bytes), verdict=verdict.reason)
        migration = replace(migration, rounds=(*migration.rounds[:-1], booked), staged=pulled)
        if not verdict.again:
            return migration, verdict.reason
        self._next(tx, job, migration, verdict)
        return migration, ""

    # -- inside

    def _next(self, tx: Transaction, job: Job, migration: Migration, verdict: Verdict) -> None:
        if verdict.fresh:
            self._request(tx, job, migration, note=verdict.reason)
        else:
            self._pull(tx, job, migration, _held(tx, job, migration)[0], note=verdict.reason)

    def _standing(self, tx: Transaction, job: Job, migration: Migration, pulled: Checkpoint, last: Round) -> Standing:
        path = link(tx, self._world.config, migration.source_site, migration.destination_site)
        newer = [one for one in _held(tx, job, migration) if one.key > pulled.key]
        source = migration.source_node
        presence = self._world.present.get(source)
        power_w = presence.job_power_w.get(job.job_id, 0.0) if presence else 0.0
        return Standing(
            model=outlook.model_of(job, pulled),
            state_bytes=float(pulled.state_bytes),
            rounds_count=len(migration.rounds),
            staged_age_s=outlook.age_s(self._world, tx, pulled, source),
            newest_age_s=outlook.age_s(self._world, tx, newer[0], source) if newer else None,
            bandwidth_bytes_per_s=_measured(last) or path.bandwidth_bytes_per_s,
            latency_s=path.latency_s,
            save_s=outlook.save_s(self._world, job),
            load_s=outlook.load_s(self._world, job),
            alpha=job.spec.policy.alpha,
            window_s=self._window_s(migration.destination_site),
            sending_s_per_byte=path.e_net_j_per_byte / power_w if power_w > 0 else 0.0,
        )

    def _window_s(self, site: str) -> float | None:
        """What is left of an open window; a move to where none is open (a drain, a wish) has no such end."""
        forecast = self._world.sites.get(site)
        left_s = forecast.window_remaining_s(self._world.utc()) if forecast else 0.0
        return left_s if left_s > 0 else None

    def _request(self, tx: Transaction, job: Job, migration: Migration, *, note: str = "") -> None:
        timeout_s = job.spec.checkpoint.timeout_s + job.spec.policy.grace_s
        self._order(tx, job, migration, migration.source_node, order_model.RequestCheckpoint(), timeout_s, note)

    def _pull(self, tx: Transaction, job: Job, migration: Migration, checkpoint: Checkpoint, *, note: str = "") -> None:
        order = orders.pull(self._world, tx, job, migration, checkpoint, migration.source_node)
        timeout_s = self._world.config.saga.staging_timeout_s
        self._order(tx, job, migration, migration.destination_node, order, timeout_s, note)

    def _order(
        self, tx: Transaction, job: Job, migration: Migration, node_id: str, order: Order, timeout_s: float, note: str
    ) -> None:
        command = orders.command(
            self._world, job, node_id, order, migration_id=migration.migration_id, timeout_s=timeout_s
        )
        self._steps.enter(tx, migration, MigrationStep.STAGING, command, note=note)


def _held(tx: Transaction, job: Job, migration: Migration) -> list[Checkpoint]:
    """The source's checkpoints, newest first."""
    return [copy.checkpoint for copy in tx.jobs.copies(job.job_id) if copy.node_id == migration.source_node]


def _measured(last: Round) -> float | None:
    """The rate of this move's own last round, where it was large enough to say something of the link [bytes/s]."""
    if last.wire_bytes is None or not last.duration_s or last.wire_bytes < SAMPLE_BYTES:
        return None
    return last.wire_bytes / last.duration_s


def _round(tx: Transaction, migration: Migration, pulled: Checkpoint, result: CommandResult) -> Round:
    pull = result.pull
    return Round(
        epoch=pulled.epoch,
        sequence=pulled.sequence,
        state_bytes=pulled.state_bytes,
        wire_bytes=pull.wire_bytes if pull else None,
        reused_bytes=pull.reused_bytes if pull else None,
        duration_s=pull.duration_s if pull else None,
        base_age_s=outlook.base_age_s(pulled, outlook.base_of(tx, migration, pulled)),
    )
