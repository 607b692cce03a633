"""Migrations; the database itself refuses a second open one of a job."""

from __future__ import annotations

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from heliotrope.foundation.errors import Conflict, NotFound

from . import schema
from .model import Migration
from .rows import decode, encode, moment, upsert


class Migrations:
    """The migrations' repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, migration: Migration) -> None:
        try:
            upsert(
                self._connection,
                schema.migrations,
                {
                    "migration_id": migration.migration_id,
                    "job_id": migration.job_id,
                    "open": not migration.step.ended,
                    "released": migration.released,
                    "planned_utc": moment(migration.steps[0].entered_utc),
                    "record": encode(migration),
                },
            )
        except IntegrityError as error:
            raise Conflict(
                f"cannot begin a migration of job {migration.job_id}: another one is open; wait for it to end"
            ) from error

    def get(self, migration_id: str) -> Migration:
        query = select(schema.migrations.c.record).where(schema.migrations.c.migration_id == migration_id)
        found = self._connection.execute(query).scalar()
        if found is None:
            raise NotFound(f"cannot find migration {migration_id!r}; `heliotrope migration list` shows them")
        return decode(found, Migration)

    def open(self) -> list[Migration]:
        query = select(schema.migrations.c.record).where(schema.migrations.c.open.is_(True))
        query = query.order_by(schema.migrations.c.planned_utc)
        return [decode(row, Migration) for row in self._connection.execute(query).scalars()]

    def open_of(self, job_id: str) -> Migration | None:
        table = schema.migrations
        query = select(table.c.record).where(table.c.job_id == job_id, table.c.open.is_(True))
        found = self._connection.execute(query).scalar()
        return None if found is None else decode(found, Migration)

    def unreleased(self) -> list[Migration]:
        """Ended, and the files they left at a node are still to be deleted."""
        table = schema.migrations
        query = select(table.c.record).where(table.c.open.is_(False), table.c.released.is_(False))
        return [decode(row, Migration) for row in self._connection.execute(query).scalars()]

    def all(self, *, job_id: str = "", limit: int = 1000) -> list[Migration]:
        """Newest first."""
        table = schema.migrations
        query = select(table.c.record).order_by(table.c.planned_utc.desc()).limit(limit)
        if job_id:
            query = query.where(table.c.job_id == job_id)
        return [decode(row, Migration) for row in self._connection.execute(query).scalars()]
