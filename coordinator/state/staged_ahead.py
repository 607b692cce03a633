"""The books of copies that were staged ahead: they outlive the replicas that they are about."""

from __future__ import annotations

from sqlalchemy import Connection, select

from . import schema
from .model import AheadOutcome, StagedAhead
from .rows import decode, encode, moment, upsert


class StagedAheadBooks:
    """The repository of these books."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, one: StagedAhead) -> None:
        planned = moment(one.planned_utc)
        row = {"ahead_id": one.ahead_id, "job_id": one.job_id, "planned_utc": planned, "record": encode(one)}
        upsert(self._connection, schema.staged_ahead, row)

    def of_job(self, job_id: str) -> list[StagedAhead]:
        """Oldest first."""
        table = schema.staged_ahead
        query = select(table.c.record).where(table.c.job_id == job_id).order_by(table.c.planned_utc, table.c.ahead_id)
        return [decode(row, StagedAhead) for row in self._connection.execute(query).scalars()]

    def open_at(self, job_id: str, node_id: str) -> StagedAhead | None:
        """The one that is not closed, of a job at a node."""
        found = self.of_job(job_id)
        return next((one for one in found if one.node_id == node_id and one.outcome is AheadOutcome.OPEN), None)
