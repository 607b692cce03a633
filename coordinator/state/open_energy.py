"""Energy on its way into the ledger: how far each spool was taken, and the sums of intervals that are not closed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, bindparam, delete, insert, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from heliotrope.foundation.errors import NotFound

from .ledger_model import JobEnergy, OpenLine, SpoolMark
from .ledger_schema import energy_spools as spools
from .ledger_schema import open_energy, spool_holes
from .rows import decode
from .schema import nodes

_SUMS = ("energy_uj", "covered_us", "span_us", "reserved_us")
_KEYS = [column.name for column in open_energy.primary_key]


def _adding(dialect: Any) -> Any:
    statement = dialect.insert(open_energy)
    changes = {name: open_energy.c[name] + statement.excluded[name] for name in _SUMS}
    return statement.on_conflict_do_update(
        index_elements=_KEYS, set_={**changes, "touched_ms": statement.excluded.touched_ms}
    )


def _marking(dialect: Any) -> Any:
    statement = dialect.insert(spools)
    changes = {name: statement.excluded[name] for name in ("sequence", "lost_count", "end_ms")}
    return statement.on_conflict_do_update(index_elements=["node_id", "spool_id"], set_=changes)


# Built once: these run for every batch of every node, and building a statement costs more than running it.
_ADD = {"sqlite": _adding(sqlite), "postgresql": _adding(postgresql)}
_MARK = {"sqlite": _marking(sqlite), "postgresql": _marking(postgresql)}
_MARKED = select(spools.c.sequence, spools.c.lost_count, spools.c.end_ms).where(
    spools.c.node_id == bindparam("node"), spools.c.spool_id == bindparam("spool")
)
_NODE = select(nodes.c.record).where(nodes.c.node_id == bindparam("node"))


class _Place(msgspec.Struct):
    """What is needed of a node's record."""

    site: str


class OpenEnergy:
    """The repository of what is not in a chain yet."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def mark(self, node_id: str, spool_id: str) -> SpoolMark:
        """How far this spool was taken; all zero before the first record."""
        row = self._connection.execute(_MARKED, {"node": node_id, "spool": spool_id}).first()
        return SpoolMark(sequence=row[0], lost_count=row[1], end_ms=row[2]) if row else SpoolMark()

    def set_mark(self, node_id: str, spool_id: str, mark: SpoolMark) -> None:
        values = {"sequence": mark.sequence, "lost_count": mark.lost_count, "end_ms": mark.end_ms}
        statement = _MARK[self._connection.dialect.name]
        self._connection.execute(statement, {"node_id": node_id, "spool_id": spool_id, **values})

    def site(self, node_id: str) -> str:
        """Where the node is. Raises NotFound."""
        record = self._connection.execute(_NODE, {"node": node_id}).scalar()
        if record is None:
            raise NotFound(f"cannot book energy of node {node_id}: it never said hello; this is a defect, report it")
        return decode(record, _Place).site

    def skip(self, node_id: str, spool_id: str, first: int, last: int) -> None:
        """Records ``first`` to ``last`` did not come before a later one did."""
        values = {"node_id": node_id, "spool_id": spool_id, "first": first, "last": last}
        self._connection.execute(insert(spool_holes).values(values))

    def fill(self, node_id: str, spool_id: str, sequence: int) -> bool:
        """Whether this record was skipped, and so is no repetition; it is not skipped any more then."""
        holes = spool_holes.c
        here = and_(holes.node_id == node_id, holes.spool_id == spool_id)
        query = select(holes.first, holes.last).where(here, holes.first <= sequence, holes.last >= sequence)
        found = self._connection.execute(query).first()
        if found is None:
            return False
        first, last = found
        self._connection.execute(delete(spool_holes).where(here, holes.first == first))
        for low, high in ((first, sequence - 1), (sequence + 1, last)):
            if low <= high:
                self.skip(node_id, spool_id, low, high)
        return True

    def add(self, lines: Sequence[OpenLine]) -> None:
        """Add to the sums of their keys, in one statement."""
        if lines:
            rows = [{name: getattr(line, name) for name in line.__struct_fields__} for line in lines]
            self._connection.execute(_ADD[self._connection.dialect.name], rows)

    def all(self, *, start_ms: int | None = None, end_ms: int | None = None) -> list[OpenLine]:
        """Lines of intervals that begin in [start, end)."""
        query = select(open_energy)
        if start_ms is not None:
            query = query.where(open_energy.c.start_ms >= start_ms)
        if end_ms is not None:
            query = query.where(open_energy.c.start_ms < end_ms)
        return [OpenLine(**row) for row in self._connection.execute(query).mappings()]

    def of_job(self, job_id: str, start_ms: int) -> list[JobEnergy]:
        """What a job used in open intervals that begin at ``start_ms`` or later."""
        names = ("start_ms", "length_ms", "node_id", "energy_uj")
        query = select(*(open_energy.c[name] for name in names))
        query = query.where(open_energy.c.job_id == job_id, open_energy.c.start_ms >= start_ms)
        return [JobEnergy(**row) for row in self._connection.execute(query).mappings()]

    def due(self, quiet_since_ms: int, limit: int) -> list[OpenLine]:
        """Lines of intervals that ended before this moment, and to which nothing was added since; the oldest first."""
        columns = open_energy.c
        query = (
            select(open_energy)
            .where(columns.start_ms + columns.length_ms <= quiet_since_ms, columns.touched_ms <= quiet_since_ms)
            .where(columns.start_ms <= quiet_since_ms)  # what the primary key can be searched by
            .order_by(columns.start_ms, columns.node_id)
            .limit(limit)
        )
        return [OpenLine(**row) for row in self._connection.execute(query).mappings()]

    def drop(self, lines: Sequence[OpenLine]) -> None:
        """They are in the ledger now."""
        columns = [open_energy.c[name] for name in _KEYS]
        for begin in range(0, len(lines), 200):  # SQLite's limit of variables in a statement
            keys = [tuple(getattr(line, name) for name in _KEYS) for line in lines[begin : begin + 200]]
            self._connection.execute(delete(open_energy).where(tuple_(*columns).in_(keys)))
