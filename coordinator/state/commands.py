"""The outbox: orders to agents, written in the same transaction as the step that needs them."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, delete, func, select

from . import schema
from .order_model import Command, CommandState
from .rows import decode, encode, upsert


class Commands:
    """The commands' repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, command: Command) -> None:
        highest = self._connection.execute(select(func.max(schema.commands.c.order_number))).scalar() or 0
        self._write(command, highest + 1)

    def find(self, command_id: str) -> Command | None:
        query = select(schema.commands.c.record).where(schema.commands.c.command_id == command_id)
        found = self._connection.execute(query).scalar()
        return None if found is None else decode(found, Command)

    def close(self, command: Command) -> None:
        """Replace an order by its ended form (done with its result, or cancelled)."""
        query = select(schema.commands.c.order_number).where(schema.commands.c.command_id == command.command_id)
        self._write(command, self._connection.execute(query).scalar_one())

    def cancel(self, command_id: str) -> None:
        """An open order will not be sent again, and its result is of no interest any more."""
        command = self.find(command_id)
        if command is not None and command.state is CommandState.OPEN:
            self.close(msgspec.structs.replace(command, state=CommandState.CANCELLED))

    def open_for(self, node_id: str) -> list[Command]:
        """In the order they were written."""
        table = schema.commands
        query = select(table.c.record).where(table.c.node_id == node_id, table.c.state == CommandState.OPEN.value)
        query = query.order_by(table.c.order_number)
        return [decode(row, Command) for row in self._connection.execute(query).scalars()]

    def open_of_job(self, job_id: str) -> list[Command]:
        table = schema.commands
        query = select(table.c.record).where(table.c.job_id == job_id, table.c.state == CommandState.OPEN.value)
        return [decode(row, Command) for row in self._connection.execute(query).scalars()]

    def prune(self, job_id: str) -> None:
        """Forget the ended orders of a job that has ended."""
        table = schema.commands
        self._connection.execute(
            delete(table).where(table.c.job_id == job_id, table.c.state != CommandState.OPEN.value)
        )

    def _write(self, command: Command, number: int) -> None:
        upsert(
            self._connection,
            schema.commands,
            {
                "command_id": command.command_id,
                "order_number": number,
                "node_id": command.node_id,
                "job_id": command.job_id,
                "migration_id": command.migration_id,
                "state": command.state.value,
                "record": encode(command),
            },
        )
