"""Opening the database and running transactions.

All state changes of a coordinator run in one thread, one transaction at a time (see :mod:`..engine`), so a manager
never meets a half-made change of another. Crash safety is the database's: WAL with synchronous=FULL, so a commit that
returned is on disk.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, select
from sqlalchemy.exc import DatabaseError

from heliotrope.foundation.errors import Corrupt, Incompatible, OutOfSpace

from . import schema
from .commands import Commands
from .decisions import Decisions
from .forecasts import ForecastErrors
from .identities import Identities
from .jobs import Jobs
from .ledger import Ledger
from .losses import Losses
from .marks import Marks
from .migrations import Migrations
from .nodes import Nodes
from .open_energy import OpenEnergy
from .powercaps import PowerCapEvents
from .replicas import Replicas
from .requests import Requests
from .staged_ahead import StagedAheadBooks

_WROTE = "heliotrope_wrote"

log = logging.getLogger("heliotrope.coordinator.database")


class Transaction:
    """The repositories over one open transaction, and what to do around its commit."""

    def __init__(self, connection: Connection) -> None:
        self.jobs = Jobs(connection)
        self.nodes = Nodes(connection)
        self.migrations = Migrations(connection)
        self.commands = Commands(connection)
        self.decisions = Decisions(connection)
        self.ledger = Ledger(connection)
        self.open_energy = OpenEnergy(connection)
        self.requests = Requests(connection)
        self.identities = Identities(connection)
        self.power_caps = PowerCapEvents(connection)
        self.replicas = Replicas(connection)
        self.staged_ahead = StagedAheadBooks(connection)
        self.losses = Losses(connection)
        self.marks = Marks(connection)
        self.forecast_errors = ForecastErrors(connection)
        self._before: list[Callable[[], None]] = []
        self._after: list[Callable[[], None]] = []

    def before_commit(self, action: Callable[[], None]) -> None:
        self._before.append(action)

    def after_commit(self, action: Callable[[], None]) -> None:
        """``action`` runs once the change is on disk, never when it was rolled back."""
        self._after.append(action)

    def run_before(self) -> None:
        for action in self._before:
            action()

    def run_after(self) -> None:
        for action in self._after:
            action()


class Group:
    """Changes that share a commit: each by itself is made whole or not at all."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._made: list[Transaction] = []

    @contextmanager
    def step(self) -> Iterator[Transaction]:
        """One change; an error undoes it and leaves the others as they are. Raises OutOfSpace as :meth:`check`."""
        self.check()
        with self._connection.begin_nested():
            transaction = Transaction(self._connection)
            yield transaction
            transaction.run_before()
        self._made.append(transaction)

    def check(self) -> None:
        """Raises OutOfSpace if the database has undone everything: SQLite does so on a full disk or a failing one."""
        plain = self._connection.connection.dbapi_connection
        if self._connection.dialect.name == "sqlite" and plain is not None and not plain.in_transaction:
            raise OutOfSpace("cannot commit: the database undid all that was to share the commit; check its disk")

    def run_after(self) -> None:
        """All of them, whatever one does: the changes are committed, and their makers are told so."""
        for transaction in self._made:
            try:
                transaction.run_after()
            except Exception:
                log.exception("what was to follow a committed change failed")


class Database:
    """One coordinator's state. ``url`` as SQLAlchemy takes it; use :meth:`in_folder` for the default SQLite file."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url)
        # Told the seconds of each commit of a transaction that wrote; the others cost nothing and would hide them.
        self.on_commit: Callable[[float], None] = lambda _seconds: None
        event.listen(self._engine, "after_cursor_execute", _note_writing)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _prepare_sqlite)
        try:
            schema.metadata.create_all(self._engine)
            self._check_version()
        except DatabaseError as error:
            raise Corrupt(f"cannot open the database {url}: {error.orig}; restore it from a backup") from error

    @classmethod
    def in_folder(cls, folder: Path) -> Database:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return cls(f"sqlite:///{folder / 'coordinator.sqlite'}")

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self._committed() as connection:
            transaction = Transaction(connection)
            yield transaction
            transaction.run_before()
        transaction.run_after()

    @contextmanager
    def group(self) -> Iterator[Group]:
        """For many small changes: the disk is waited for once."""
        with self._committed() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")  # else the first savepoint would be a transaction of its own
            group = Group(connection)
            yield group
            group.check()
        group.run_after()

    @contextmanager
    def _committed(self) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            connection.info[_WROTE] = False
            with connection.begin():
                yield connection
                begun_s = time.monotonic()
            if connection.info[_WROTE]:
                self.on_commit(time.monotonic() - begun_s)

    @contextmanager
    def snapshot(self) -> Iterator[Transaction]:
        """For long reading beside the state thread: one state of everything, and nothing may be written."""
        with self._engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")  # else each SELECT would see a state of its own
            else:
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            try:
                yield Transaction(connection)
            finally:
                connection.rollback()

    def close(self) -> None:
        self._engine.dispose()

    def _check_version(self) -> None:
        with self._engine.begin() as connection:
            found = connection.execute(select(schema.about.c.value).where(schema.about.c.key == "schema")).scalar()
            if found is None:
                connection.execute(insert(schema.about).values(key="schema", value=str(schema.VERSION)))
            elif int(found) > schema.VERSION:
                raise Incompatible(
                    f"cannot open the database: its schema is version {found}, this software knows {schema.VERSION}; "
                    "start the version of heliotrope that wrote it"
                )

    @property
    def engine(self) -> Engine:
        return self._engine


def _note_writing(
    connection: Connection, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool
) -> None:
    if context is not None and (context.isinsert or context.isupdate or context.isdelete):
        connection.info[_WROTE] = True


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()
