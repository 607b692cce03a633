"""Reads a checkpoint back from disk, every byte of it, and says where it is not what its manifest says."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from heliotrope.foundation.errors import HeliotropeError

from ..checkpoints.damage import CHUNKS_LIMIT, DamagedChunk, DamageRecord
from ..checkpoints.manifest import Entry
from ..checkpoints.reader import CheckpointReader, read_chunk
from ..checkpoints.registry import CheckpointRecord
from ..checkpoints.scan import entry_path

Pace = Callable[[int], None]
"""Told the bytes that were read; may wait. Raises what ends the inspection."""


@dataclass(frozen=True)
class Finding:
    """What reading one checkpoint back showed; ``damage`` None: it is whole."""

    checkpoint: CheckpointRecord
    chunk_count: int
    size_bytes: int
    damage: DamageRecord | None


def inspect(checkpoint: CheckpointRecord, reader: CheckpointReader | None, pace: Pace, now_utc: datetime) -> Finding:
    """Read it all. ``reader`` None: its manifest is gone, and with it the means to tell."""
    if reader is None or reader.digest.hex() != checkpoint.manifest_digest:
        cause = "the store's manifest of it is gone" if reader is None else "the store's manifest is another one"
        bad = [DamagedChunk("", 0, 0, "", cause)]
        return Finding(checkpoint, 0, 0, _record(checkpoint, bad, now_utc))
    found = [chunk for entry in reader.manifest.entries for chunk in _of_entry(reader, entry, pace)]
    damage = _record(checkpoint, found, now_utc) if found else None
    return Finding(checkpoint, len(reader.places), reader.manifest.data_bytes, damage)


def _of_entry(reader: CheckpointReader, entry: Entry, pace: Pace) -> Iterator[DamagedChunk]:
    path = entry_path(reader.root, entry)
    cause = _shape(path, entry)
    if cause:
        yield DamagedChunk(entry.path, 0, entry.size_bytes, "", cause)
        return
    if entry.chunks:
        _from_disk(path)
    for chunk in entry.chunks:
        try:
            read_chunk(reader.root, entry, chunk, memoryview(bytearray(chunk.size_bytes)))
        except (HeliotropeError, OSError) as error:  # OSError: the disk gives no answer for these blocks
            yield DamagedChunk(entry.path, chunk.offset, chunk.size_bytes, chunk.digest.hex(), str(error))
        pace(chunk.size_bytes)
    if entry.chunks:
        _from_disk(path)


def _shape(path: Path, entry: Entry) -> str:
    """What is wrong with the entry itself; empty where nothing is. Modes and times are the job's to change."""
    try:
        status = path.lstat()
    except OSError as error:
        return f"it cannot be found: {error.strerror}"
    kind = "dir" if stat.S_ISDIR(status.st_mode) else "symlink" if stat.S_ISLNK(status.st_mode) else "file"
    if kind != entry.kind:
        return f"it is a {kind} now, it was a {entry.kind}"
    if entry.kind == "file" and status.st_size != entry.size_bytes:
        return f"it has {status.st_size} bytes, it had {entry.size_bytes}"
    return ""


def _from_disk(path: Path) -> None:
    """Forget the cached pages: what the cache holds says nothing about the disk, and it is the job's to use."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def _record(checkpoint: CheckpointRecord, found: list[DamagedChunk], now_utc: datetime) -> DamageRecord:
    return DamageRecord(
        job_id=checkpoint.job_id,
        epoch=checkpoint.epoch,
        sequence=checkpoint.sequence,
        manifest_digest=checkpoint.manifest_digest,
        chunk_count=len(found),
        chunks=tuple(found[:CHUNKS_LIMIT]),
        found_utc=now_utc,
    )
