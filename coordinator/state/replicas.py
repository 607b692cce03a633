"""Replicas: copies of running jobs' checkpoints at other nodes, and how far the next one is."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from . import schema
from .model import Replica
from .rows import decode, encode, upsert


class Replicas:
    """The replicas' repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, replica: Replica) -> None:
        key = {"job_id": replica.job_id, "node_id": replica.node_id}
        upsert(self._connection, schema.replicas, {**key, "record": encode(replica)})

    def find(self, job_id: str, node_id: str) -> Replica | None:
        table = schema.replicas
        query = select(table.c.record).where(table.c.job_id == job_id, table.c.node_id == node_id)
        found = self._connection.execute(query).scalar()
        return None if found is None else decode(found, Replica)

    def of_job(self, job_id: str) -> list[Replica]:
        """In node order."""
        table = schema.replicas
        query = select(table.c.record).where(table.c.job_id == job_id).order_by(table.c.node_id)
        return [decode(row, Replica) for row in self._connection.execute(query).scalars()]

    def all(self) -> list[Replica]:
        query = select(schema.replicas.c.record)
        return [decode(row, Replica) for row in self._connection.execute(query).scalars()]

    def drop(self, job_id: str, node_id: str) -> None:
        table = schema.replicas
        self._connection.execute(delete(table).where(table.c.job_id == job_id, table.c.node_id == node_id))
