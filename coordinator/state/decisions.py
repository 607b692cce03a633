"""Decisions, each with every term it rests on."""

from __future__ import annotations

from sqlalchemy import Connection, select

from . import schema
from .model import StoredDecision
from .rows import decode, encode, moment, upsert


class Decisions:
    """The decisions' repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, decision: StoredDecision) -> None:
        upsert(
            self._connection,
            schema.decisions,
            {
                "decision_id": decision.decision_id,
                "job_id": decision.job_id,
                "utc": moment(decision.utc),
                "record": encode(decision),
            },
        )

    def find(self, decision_id: str) -> StoredDecision | None:
        query = select(schema.decisions.c.record).where(schema.decisions.c.decision_id == decision_id)
        found = self._connection.execute(query).scalar()
        return None if found is None else decode(found, StoredDecision)

    def latest(self, job_id: str) -> StoredDecision | None:
        found = self.all(job_id=job_id, limit=1)
        return found[0] if found else None

    def all(self, *, job_id: str = "", limit: int = 1000) -> list[StoredDecision]:
        """Newest first."""
        table = schema.decisions
        query = select(table.c.record).order_by(table.c.utc.desc()).limit(limit)
        if job_id:
            query = query.where(table.c.job_id == job_id)
        return [decode(row, StoredDecision) for row in self._connection.execute(query).scalars()]
