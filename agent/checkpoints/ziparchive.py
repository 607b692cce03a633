"""Members of a zip archive that are stored as they are, found without unpacking: PyTorch's and numpy's containers."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from dataclasses import dataclass
from typing import Any

MEMBERS_LIMIT = 1_000_000
_LOCAL_HEADER = struct.Struct("<4s2B4HL2L2H")


@dataclass(frozen=True)
class Member:
    """A stored member: its bytes stand at [offset, offset + size_bytes) of the file, after a header at ``header``."""

    name: str
    offset: int
    size_bytes: int
    header: int


class _Head(io.RawIOBase):
    """The first ``size_bytes`` of an open file, as a file of its own."""

    def __init__(self, handle: int, size_bytes: int) -> None:
        self._handle, self._size_bytes, self._at = handle, size_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_CUR: self._at, os.SEEK_END: self._size_bytes}.get(whence, 0))
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = os.pread(self._handle, max(0, min(len(buffer), self._size_bytes - self._at)), self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def stored_members(handle: int, size_bytes: int) -> list[Member] | None:
    """The stored members of the archive that ends at ``size_bytes``, in archive order, compressed ones left out.

    None if there is none. Before it may stand other bytes, other archives too: the first header says where it begins.
    """
    if os.pread(handle, 4, 0) != b"PK\x03\x04":
        return None
    members = []
    try:
        with io.BufferedReader(_Head(handle, size_bytes)) as file, zipfile.ZipFile(file) as archive:
            listed = archive.infolist()
            directory = archive.start_dir
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):
        return None
    if len(listed) > MEMBERS_LIMIT:
        return None
    for info in listed:
        if not 0 <= info.header_offset < directory:
            return None
        head = os.pread(handle, _LOCAL_HEADER.size, info.header_offset)
        if len(head) < _LOCAL_HEADER.size or head[:4] != b"PK\x03\x04":
            return None
        fields = _LOCAL_HEADER.unpack(head)
        offset = info.header_offset + _LOCAL_HEADER.size + fields[-2] + fields[-1]
        if offset + info.compress_size > size_bytes:
            return None
        if info.compress_type == zipfile.ZIP_STORED and info.file_size:
            members.append(Member(info.filename, offset, info.file_size, info.header_offset))
    return members
