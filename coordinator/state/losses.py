"""Losses: runs that ended with their node, kept for good, one per job and epoch."""

from __future__ import annotations

from sqlalchemy import Connection, select

from . import schema
from .model import Loss
from .rows import decode, encode, upsert


class Losses:
    """The losses' repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, loss: Loss) -> None:
        key = {"job_id": loss.job_id, "epoch": loss.epoch}
        upsert(self._connection, schema.losses, {**key, "record": encode(loss)})

    def find(self, job_id: str, epoch: int) -> Loss | None:
        table = schema.losses
        query = select(table.c.record).where(table.c.job_id == job_id, table.c.epoch == epoch)
        found = self._connection.execute(query).scalar()
        return None if found is None else decode(found, Loss)

    def of_job(self, job_id: str) -> list[Loss]:
        """Oldest first."""
        query = select(schema.losses.c.record).where(schema.losses.c.job_id == job_id).order_by(schema.losses.c.epoch)
        return [decode(row, Loss) for row in self._connection.execute(query).scalars()]
