"""What was revoked: single certificates by serial, or all that a member was issued up to a moment, by name.

A name is revoked up to a moment and not for good, so that a member whose key was stolen joins again under its own name;
join tokens made before that moment are void as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from .certificates import SCHEME
from .errors import Denied, InvalidInput
from .identity import Name, Role
from .peer import Peer

REASON_LIMIT = 500

_SERIAL = re.compile(r"[0-9a-f]{1,40}")  # X.509 allows 20 bytes


class Revocation(msgspec.Struct, frozen=True, kw_only=True):
    """``subject``: a serial in hexadecimal, or a member's name (its URI)."""

    subject: str
    revoked_utc: datetime
    reason: str = ""

    @property
    def is_name(self) -> bool:
        return self.subject.startswith(SCHEME)


class Revocations:
    """The list, as a value that threads may share; of several entries for one subject the latest counts."""

    def __init__(self, entries: Iterable[Revocation] = ()) -> None:
        self._by_subject = {entry.subject: entry for entry in sorted(entries, key=lambda entry: entry.revoked_utc)}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Revocations) and self._by_subject == other._by_subject

    __hash__ = None  # type: ignore[assignment]  # compared, never a key

    @property
    def entries(self) -> tuple[Revocation, ...]:
        return tuple(self._by_subject[subject] for subject in sorted(self._by_subject))

    def find(self, name: Name, serial: str, issued_utc: datetime) -> Revocation | None:
        """The entry that revokes this certificate, if one does."""
        by_serial = self._by_subject.get(serial)
        if by_serial is not None:
            return by_serial
        for subject in _names(name):
            entry = self._by_subject.get(str(subject))
            # Certificates say when they were issued to the second: one of the same second may be the stolen one.
            if entry is not None and issued_utc <= entry.revoked_utc:
                return entry
        return None

    def check(self, peer: Peer) -> None:
        """Raises Denied, naming the certificate, the reason and the way back, if it is revoked."""
        entry = self.find(peer.name, peer.serial, peer.issued_utc)
        if entry is None:
            return
        why = f" ({entry.reason})" if entry.reason else ""
        raise Denied(
            f"cannot accept {peer.name}: its certificate {peer.serial} was revoked at "
            f"{entry.revoked_utc.astimezone(UTC).isoformat(timespec='seconds')}{why}; {_way_back(peer.name)}"
        )


def parse_subject(text: str, fleet: str) -> str:
    """A serial, a name, or a short name (``node/n1``) as a subject.

    Raises InvalidInput naming the field; also for a coordinator: agents learn of revocations from it, so its own would
    reach nobody.
    """
    given = text.strip()
    if _SERIAL.fullmatch(given.lower().removeprefix("0x")):
        return given.lower().removeprefix("0x").lstrip("0") or "0"
    if "/" not in given:
        raise InvalidInput(f"field subject: {text!r} is neither a serial nor a name; write for instance node/n1")
    name = Name.parse(given if given.startswith(SCHEME) else f"{SCHEME}{fleet}/{given}")
    if name.fleet != fleet:
        raise InvalidInput(f"field subject: {name} is of another fleet than {fleet}; ask that one")
    if name.role is Role.COORDINATOR:
        raise InvalidInput(
            f"field subject: {name} is a coordinator, from which agents learn of revocations; stop it and make a new "
            "authority if its key was stolen"
        )
    return str(name)


def _names(name: Name) -> tuple[Name, ...]:
    """A join token goes with the node that it is for."""
    return (name, Name(name.fleet, Role.AGENT, name.id)) if name.role is Role.JOINER else (name,)


def _way_back(name: Name) -> str:
    if name.role in (Role.AGENT, Role.JOINER):
        return f"make a new token: heliotrope ca join-token --node {name.id}"
    return f"have a new one issued: heliotrope ca issue --role {name.role.value} --id {name.id}"
