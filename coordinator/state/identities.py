"""Join tokens that were used, and what was revoked."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from heliotrope.foundation.revocation import Revocation

from . import schema
from .model import Enrolment
from .rows import decode, encode, upsert


class Identities:
    """The identities' repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def enrolment(self, token_serial: str) -> Enrolment | None:
        query = select(schema.enrolments.c.record).where(schema.enrolments.c.token_serial == token_serial)
        found = self._connection.execute(query).scalar()
        return None if found is None else decode(found, Enrolment)

    def add_enrolment(self, enrolment: Enrolment) -> None:
        """The database refuses a second one of the same token."""
        values = {"token_serial": enrolment.token_serial, "record": encode(enrolment)}
        self._connection.execute(insert(schema.enrolments).values(values))

    def revoke(self, entry: Revocation) -> None:
        """Again for the same subject: the later one counts."""
        known = self.revocation(entry.subject)
        if known is None or known.revoked_utc < entry.revoked_utc:
            upsert(self._connection, schema.revocations, {"subject": entry.subject, "record": encode(entry)})

    def revocation(self, subject: str) -> Revocation | None:
        query = select(schema.revocations.c.record).where(schema.revocations.c.subject == subject)
        found = self._connection.execute(query).scalar()
        return None if found is None else decode(found, Revocation)

    def revocations(self) -> list[Revocation]:
        query = select(schema.revocations.c.record).order_by(schema.revocations.c.subject)
        return [decode(row, Revocation) for row in self._connection.execute(query).scalars()]
