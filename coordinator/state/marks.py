"""Counters of the whole state; one says how often a lease passed to a new holder, which tells an old backup apart."""

from __future__ import annotations

from sqlalchemy import Connection, select

from . import schema
from .rows import upsert

_HANDOVERS = "handover_count"


class Marks:
    """The counters' repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def handover_count(self) -> int:
        query = select(schema.about.c.value).where(schema.about.c.key == _HANDOVERS)
        return int(self._connection.execute(query).scalar() or 0)

    def raise_handover_count(self, count: int) -> None:
        """Never lowered: agents keep the highest that they were told."""
        if count > self.handover_count():
            upsert(self._connection, schema.about, {"key": _HANDOVERS, "value": str(count)})
