"""Energy as it was committed: interval sums, and per spool the position up to which batches were taken."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from . import schema
from .model import EnergyInterval
from .rows import moment, upsert

_SUMS = (
    "energy_j",
    "unknown_energy_j",
    "carbon_g",
    "carbon_static_g",
    "renewable_energy_j",
    "covered_s",
    "span_s",
)


class Ledger:
    """The energy repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def position(self, node_id: str, spool_id: str) -> int:
        """The highest sequence taken from this spool; 0 before the first."""
        table = schema.spools
        query = select(table.c.sequence).where(table.c.node_id == node_id, table.c.spool_id == spool_id)
        return self._connection.execute(query).scalar() or 0

    def advance(self, node_id: str, spool_id: str, sequence: int, lost_count: int) -> None:
        table = schema.spools
        query = select(table.c.lost_count).where(table.c.node_id == node_id, table.c.spool_id == spool_id)
        lost = (self._connection.execute(query).scalar() or 0) + lost_count
        key = {"node_id": node_id, "spool_id": spool_id}
        upsert(self._connection, table, {**key, "sequence": sequence, "lost_count": lost})

    def add(self, interval: EnergyInterval) -> None:
        """Add to the interval's sums."""
        table = schema.energy
        values: dict[str, Any] = {name: getattr(interval, name) for name in interval.__struct_fields__}
        values["start_utc"] = moment(interval.start_utc)
        build = sqlite.insert if self._connection.dialect.name == "sqlite" else postgresql.insert
        statement = build(table).values(values)
        sums = {name: table.c[name] + statement.excluded[name] for name in _SUMS}
        keys = [column.name for column in table.primary_key]
        self._connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=sums))

    def intervals(
        self, *, start_utc: datetime | None = None, end_utc: datetime | None = None, job_id: str = ""
    ) -> list[EnergyInterval]:
        """Intervals that begin in [start, end), oldest first."""
        table = schema.energy
        query = select(table).order_by(table.c.start_utc)
        if start_utc is not None:
            query = query.where(table.c.start_utc >= moment(start_utc))
        if end_utc is not None:
            query = query.where(table.c.start_utc < moment(end_utc))
        if job_id:
            query = query.where(table.c.job_id == job_id)
        return [_interval(dict(row)) for row in self._connection.execute(query).mappings()]

    def site_sums(self) -> dict[str, dict[str, float]]:
        """Site -> the sums of all its intervals, by column."""
        table = schema.energy
        query = select(table.c.site, *(func.sum(table.c[name]).label(name) for name in _SUMS)).group_by(table.c.site)
        rows = [dict(row) for row in self._connection.execute(query).mappings()]
        return {str(row["site"]): {name: float(row[name] or 0.0) for name in _SUMS} for row in rows}


def _interval(row: dict[str, Any]) -> EnergyInterval:
    row["start_utc"] = datetime.strptime(row["start_utc"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return EnergyInterval(**row)
