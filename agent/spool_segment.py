"""One append-only file of checked records; see :mod:`.spool` for what they mean.

A record: 2 bytes magic, 2 bytes zero, 4 bytes payload length, 8 bytes sequence, 4 bytes CRC-32 of the 16 bytes before
and the payload, then the payload; little endian.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from heliotrope.foundation import records

_HEADER = struct.Struct("<2sHIQ")
_CHECK = struct.Struct("<I")
_PREFIX_BYTES = _HEADER.size + _CHECK.size
_MAGIC = b"HS"
_MAX_PAYLOAD_BYTES = 16 << 20
_SUFFIX = ".seg"


class Record(NamedTuple):
    sequence: int
    payload: bytes


class Segment:
    """Records ``first_sequence`` up to ``next_sequence`` (excluded), without holes."""

    def __init__(self, path: Path, first_sequence: int) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.first_sequence = first_sequence
        self.next_sequence = first_sequence
        self.size_bytes = 0
        self.is_reported = False
        for _ in self.read(is_opening=True):
            pass

    def __len__(self) -> int:
        return self.next_sequence - self.first_sequence

    def read(self, *, is_opening: bool = False) -> Iterator[Record]:
        """All whole records from the start. At the opening, what follows the last whole one (a torn write) is cut."""
        offset, sequence = 0, self.first_sequence
        end = os.fstat(self._file).st_size if is_opening else self.size_bytes
        while offset < end and (payload := self._payload(offset, end, sequence)) is not None:
            offset += _PREFIX_BYTES + len(payload)
            sequence += 1
            if is_opening:
                self.next_sequence, self.size_bytes = sequence, offset
            yield Record(sequence - 1, payload)
        if is_opening and offset < end:
            os.ftruncate(self._file, offset)

    def _payload(self, offset: int, end: int, sequence: int) -> bytes | None:
        """The payload of the record at ``offset``; None where there is no whole, undamaged one of that sequence."""
        prefix = os.pread(self._file, _PREFIX_BYTES, offset)
        if len(prefix) < _PREFIX_BYTES:
            return None
        magic, _, length, found = _HEADER.unpack_from(prefix)
        if magic != _MAGIC or found != sequence or length > min(_MAX_PAYLOAD_BYTES, end - offset):
            return None
        payload = os.pread(self._file, length, offset + _PREFIX_BYTES)
        (checksum,) = _CHECK.unpack_from(prefix, _HEADER.size)
        is_whole = len(payload) == length and zlib.crc32(payload, zlib.crc32(prefix[: _HEADER.size])) == checksum
        return payload if is_whole else None

    def append(self, payload: bytes) -> int:
        """Write one record; its sequence. Raises OSError, and then the file is as it was before."""
        header = _HEADER.pack(_MAGIC, 0, len(payload), self.next_sequence)
        record = header + _CHECK.pack(zlib.crc32(payload, zlib.crc32(header))) + payload
        written = 0
        try:
            while written < len(record):
                written += os.pwrite(self._file, record[written:], self.size_bytes + written)
        except OSError:
            os.ftruncate(self._file, self.size_bytes)  # a half record would end the segment for every reader
            raise
        self.size_bytes += len(record)
        self.next_sequence += 1
        return self.next_sequence - 1

    def sync(self) -> None:
        """Wait until the disk has it. Raises OSError."""
        os.fdatasync(self._file)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def remove(self) -> None:
        """Delete the file; where the disk refuses, it comes back at the next start and is only sent twice."""
        self.close()
        with contextlib.suppress(OSError):
            self._path.unlink()


def create(folder: Path, first_sequence: int) -> Segment:
    """A new, empty segment whose name lasts. Raises OSError."""
    segment = Segment(folder / f"{first_sequence:020d}{_SUFFIX}", first_sequence)
    records.sync_folder(folder)
    return segment


def open_segments(folder: Path) -> list[Segment]:
    """The segments of a folder, oldest first; all are read through and checked."""
    names = sorted(path for path in folder.glob(f"*{_SUFFIX}") if path.stem.isdigit())
    return [Segment(path, int(path.stem)) for path in names]
