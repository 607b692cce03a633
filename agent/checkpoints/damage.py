"""What is damaged on this node: one durable record per checkpoint, until it is mended or gone.

checkpoints/damaged/JOB.EPOCH.SEQUENCE.json. Whoever finds damage writes here (the scrub, a peer's read,
``heliotrope store verify`` in a process of its own); each record is replaced as a whole, so that no lock is needed. A
checkpoint with a record is neither offered nor served.
"""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path

import msgspec

from heliotrope.foundation import records
from heliotrope.foundation.errors import Corrupt

CHUNKS_LIMIT = 1000  # named one by one; a lost file of 100 GB has 25 000, and the count says so


class DamagedChunk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run of a file's bytes that is not what the manifest says. ``digest``: hex, empty for the file as a whole."""

    file: str
    offset: int
    size_bytes: int
    digest: str
    cause: str


class DamageRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The damage of one checkpoint. ``note``: what became of mending it, empty as long as nothing was tried."""

    job_id: str
    epoch: int
    sequence: int
    manifest_digest: str
    chunk_count: int
    chunks: tuple[DamagedChunk, ...]
    found_utc: datetime
    note: str = ""
    version: int = 1

    @property
    def reference(self) -> str:
        """The checkpoint's name in the store."""
        return reference_name(self.job_id, self.epoch, self.sequence)


def reference_name(job_id: str, epoch: int, sequence: int) -> str:
    """The name under which the store holds a checkpoint."""
    return f"{job_id}.{epoch}.{sequence}"


class DamageBook:
    """The records in ``folder``, read from disk each time: another process may have written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> frozenset[str]:
        """References with damage."""
        try:
            return frozenset(path.stem for path in self._folder.iterdir() if _is_record(path))
        except FileNotFoundError:
            return frozenset()

    def find(self, reference: str) -> DamageRecord | None:
        """The record, None for a checkpoint that is whole as far as anybody knows. Raises Corrupt."""
        try:
            return records.load(self._path(reference), DamageRecord)
        except FileNotFoundError:
            return None

    def all(self) -> list[DamageRecord]:
        """In the order of their references. Raises Corrupt."""
        return [found for name in sorted(self.names()) if (found := self.find(name)) is not None]

    def put(self, record: DamageRecord) -> None:
        """Durable on return; replaces what was known of that checkpoint."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        records.save(self._path(record.reference), record)

    def add(self, record: DamageRecord) -> None:
        """Beside what is known of that checkpoint: one read finds one chunk."""
        try:
            known = self.find(record.reference)
        except Corrupt:
            known = None  # a half-readable record says no more than the new one
        if known is not None:
            new = [chunk for chunk in record.chunks if chunk not in known.chunks]
            if not new:
                return
            chunks = (*known.chunks, *new)[:CHUNKS_LIMIT]
            record = msgspec.structs.replace(known, chunks=chunks, chunk_count=known.chunk_count + len(new))
        self.put(record)

    def note(self, reference: str, text: str) -> None:
        """What became of mending it; nothing for a checkpoint without a record."""
        known = self.find(reference)
        if known is not None and known.note != text:
            self.put(msgspec.structs.replace(known, note=text))

    def remove(self, reference: str) -> None:
        """It is whole again, or gone; no error if nothing was known."""
        with contextlib.suppress(FileNotFoundError):
            self._path(reference).unlink()
            records.sync_folder(self._folder)

    def _path(self, reference: str) -> Path:
        return self._folder / f"{reference}.json"


def _is_record(path: Path) -> bool:
    return path.suffix == ".json" and not path.name.startswith(".")
