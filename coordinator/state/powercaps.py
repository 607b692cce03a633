"""The audit of power caps: what was ordered by whom, and what came of it; lines are added, never changed."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from heliotrope.foundation.model import PowerCapEvent

from . import schema
from .rows import decode, encode, upsert


class PowerCapEvents:
    """The events' repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, event: PowerCapEvent) -> None:
        """Of the node ``event.node_id``. An event that is there already stays as it is."""
        table = schema.power_cap_events
        here = (table.c.node_id == event.node_id) & (table.c.event_id == event.event_id)
        if self._connection.execute(select(table.c.event_id).where(here)).scalar() is not None:
            return
        highest = self._connection.execute(select(func.max(table.c.event_number))).scalar() or 0
        upsert(
            self._connection,
            table,
            {
                "node_id": event.node_id,
                "event_id": event.event_id,
                "cap_id": event.cap_id,
                "event_number": highest + 1,
                "record": encode(event),
            },
        )

    def of_cap(self, cap_id: str) -> list[PowerCapEvent]:
        """Oldest first, as they became known here."""
        table = schema.power_cap_events
        query = select(table.c.record).where(table.c.cap_id == cap_id).order_by(table.c.event_number)
        return [decode(row, PowerCapEvent) for row in self._connection.execute(query).scalars()]

    def latest(self, *, node_id: str = "", limit: int = 100) -> list[PowerCapEvent]:
        """Newest first; of one node, or of all."""
        table = schema.power_cap_events
        query = select(table.c.record).order_by(table.c.event_number.desc()).limit(limit)
        if node_id:
            query = query.where(table.c.node_id == node_id)
        return [decode(row, PowerCapEvent) for row in self._connection.execute(query).scalars()]
