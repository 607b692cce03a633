"""The books of what is staged ahead: what it sent, what that cost, and whether it served a move."""

from __future__ import annotations

import math
from datetime import timedelta

from heliotrope.foundation.ledger import J_PER_KWH
from heliotrope.foundation.model import CommandResult

from ..state.database import Transaction
from ..state.model import AheadOutcome, Job, Replica, ReplicaReason, StagedAhead, replace
from ..state.order_model import Command
from .links import link
from .world import World

DAY = timedelta(days=1)


class AheadBooks:
    """Writes them; what is done about the copies themselves is the replication's."""

    def __init__(self, world: World) -> None:
        self._world = world

    def ordered(self, tx: Transaction, replica: Replica, command: Command) -> None:
        """A transfer begins, whose bytes are to be booked."""
        found = self._open(tx, replica)
        if found is not None:
            tx.staged_ahead.put(replace(found, command_ids=(*found.command_ids, command.command_id)))

    def sent(self, tx: Transaction, command: Command, result: CommandResult) -> None:
        """Book a transfer once, also one that was given up meanwhile: its bytes crossed the link."""
        for one in tx.staged_ahead.of_job(command.job_id):
            if command.command_id not in one.command_ids:
                continue
            wire_bytes = result.pull.wire_bytes if result.pull else 0
            verified_utc = one.verified_utc if result.error else self._world.utc()
            rest = tuple(known for known in one.command_ids if known != command.command_id)
            booked = replace(one, wire_bytes=one.wire_bytes + wire_bytes, verified_utc=verified_utc, command_ids=rest)
            tx.staged_ahead.put(self._with_energy(tx, booked, wire_bytes))

    def close(self, tx: Transaction, replica: Replica, outcome: AheadOutcome, message: str) -> None:
        """What became of it; nothing for a replica of another reason."""
        found = self._open(tx, replica)
        if found is not None:
            tx.staged_ahead.put(replace(found, outcome=outcome, message=message, closed_utc=self._world.utc()))

    def reached(self, tx: Transaction, replica: Replica, job: Job) -> None:
        """The job's lease is with the copy's node."""
        found = self._open(tx, replica)
        if found is None:
            return
        served = (one for one in tx.migrations.all(job_id=job.job_id) if one.destination_node == replica.node_id)
        newest = max(served, key=lambda one: one.steps[0].entered_utc, default=None)
        migration_id = newest.migration_id if newest else ""
        whole = replica.checkpoint is not None
        outcome = AheadOutcome.HIT if whole else AheadOutcome.OVERTAKEN
        message = "the job moved to it" if whole else "the job moved there before it was whole"
        closed = replace(found, outcome=outcome, message=message, closed_utc=self._world.utc())
        tx.staged_ahead.put(replace(closed, migration_id=migration_id))

    def spent_bytes(self, tx: Transaction, job: Job) -> int:
        """Of the last 24 hours, with what is still expected of the open ones."""
        since = self._world.utc() - DAY
        recent = [one for one in tx.staged_ahead.of_job(job.job_id) if one.planned_utc > since]
        return sum(
            max(one.wire_bytes, one.expected_wire_bytes)
            if one.outcome is AheadOutcome.OPEN and one.verified_utc is None
            else one.wire_bytes
            for one in recent
        )

    def _open(self, tx: Transaction, replica: Replica) -> StagedAhead | None:
        if replica.reason is not ReplicaReason.AHEAD:
            return None
        return tx.staged_ahead.open_at(replica.job_id, replica.node_id)

    def _with_energy(self, tx: Transaction, one: StagedAhead, wire_bytes: int) -> StagedAhead:
        """The network's energy by the link's figure, its carbon at the mean of both ends' intensities of now."""
        energy_j = wire_bytes * link(tx, self._world.config, one.source_site, one.site).e_net_j_per_byte
        now = self._world.utc()
        ends = [self._world.sites.get(name) for name in (one.source_site, one.site)]
        intensities = [math.nan if end is None else end.intensity_now_g_per_kwh(now) for end in ends]
        mean_g_per_kwh = sum(intensities) / len(intensities)
        unknown = math.isnan(mean_g_per_kwh)
        return replace(
            one,
            energy_j=one.energy_j + energy_j,
            carbon_g=one.carbon_g + (0.0 if unknown else energy_j / J_PER_KWH * mean_g_per_kwh),
            unknown_energy_j=one.unknown_energy_j + (energy_j if unknown else 0.0),
        )
