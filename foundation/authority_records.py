"""What an authority remembers, a small file each: certificates by serial (``issued/``), revocations (``revoked/``)."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from . import records
from .errors import Conflict
from .revocation import Revocation

_ISSUED, _REVOKED = "issued", "revoked"


class IssuedRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the authority remembers of a certificate; ``serial`` is hexadecimal, ``version`` that of this record."""

    version: int = 1
    serial: str
    name: str
    not_before_utc: datetime
    expires_utc: datetime


class AuthorityRecords:
    """The records below an authority's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, record: IssuedRecord) -> None:
        """Raises Conflict when it cannot be written; then nothing may be handed out."""
        self._save(_ISSUED, record.serial, record, "nothing was issued")

    def issued(self) -> list[IssuedRecord]:
        """Oldest first. Raises Corrupt for a damaged record."""
        paths = sorted((self._folder / _ISSUED).glob("*.json"))
        found = (records.load(path, IssuedRecord) for path in paths)
        return sorted(found, key=lambda record: (record.not_before_utc, record.serial))

    def revoke(self, entry: Revocation) -> None:
        """Raises Conflict when it cannot be written."""
        name = hashlib.sha256(entry.subject.encode()).hexdigest()[:16] if entry.is_name else entry.subject
        self._save(_REVOKED, name, entry, "nothing was revoked")

    def revoked(self) -> list[Revocation]:
        """Oldest first. Raises Corrupt for a damaged record."""
        paths = sorted((self._folder / _REVOKED).glob("*.json"))
        return sorted((records.load(path, Revocation) for path in paths), key=lambda entry: entry.revoked_utc)

    def _save(self, kind: str, name: str, record: Any, nothing: str) -> None:
        folder = self._folder / kind
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            path = folder / f"{name}.json"
            records.save(path, record)
            self._give_to_owner(folder, path)
        except OSError as error:
            raise Conflict(
                f"cannot record a certificate in {folder}: {error.strerror}; make it writable, {nothing}"
            ) from error

    def _give_to_owner(self, *paths: Path) -> None:
        """Root works on an authority of the coordinator's account: what it leaves there must be readable to that."""
        owner = self._folder.stat()
        if os.geteuid() == 0:
            for path in paths:
                os.chown(path, owner.st_uid, owner.st_gid)
