"""Client request ids: a repeated call finds the object that the first one made."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select

from . import schema
from .rows import moment


class Requests:
    """The requests' repository; ``caller`` is the certificate's name, so ids of two operators never meet."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, caller: str, request_id: str) -> str | None:
        """The object that an earlier call with this id made or changed."""
        if not request_id:
            return None
        table = schema.requests
        query = select(table.c.object_id).where(table.c.caller == caller, table.c.request_id == request_id)
        return self._connection.execute(query).scalar()

    def add(self, caller: str, request_id: str, object_id: str, utc: datetime) -> None:
        if request_id:
            values = {"caller": caller, "request_id": request_id, "object_id": object_id, "utc": moment(utc)}
            self._connection.execute(insert(schema.requests).values(values))
