"""Members of a zip archive that are stored as they are, found without unpacking: PyTorch's and numpy's containers."""

from __future__ import annotations

import os
import struct
import zipfile
from dataclasses import dataclass

MEMBERS_LIMIT = 1_000_000
_LOCAL_HEADER = struct.Struct("<4s2B4HL2L2H")


@dataclass(frozen=True)
class Member:
    """A stored member: its bytes stand at [offset, offset + size_bytes) of the archive."""

    name: str
    offset: int
    size_bytes: int


def stored_members(handle: int, size_bytes: int) -> list[Member] | None:
    """The stored members in archive order, compressed ones left out; None if the file is not a zip archive."""
    if os.pread(handle, 4, 0) != b"PK\x03\x04":
        return None
    members = []
    try:
        with open(os.dup(handle), "rb") as file, zipfile.ZipFile(file) as archive:
            listed = archive.infolist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):
        return None
    if len(listed) > MEMBERS_LIMIT:
        return None
    for info in listed:
        head = os.pread(handle, _LOCAL_HEADER.size, info.header_offset)
        if len(head) < _LOCAL_HEADER.size or head[:4] != b"PK\x03\x04":
            return None
        fields = _LOCAL_HEADER.unpack(head)
        offset = info.header_offset + _LOCAL_HEADER.size + fields[-2] + fields[-1]
        if offset + info.compress_size > size_bytes:
            return None
        if info.compress_type == zipfile.ZIP_STORED and info.file_size:
            members.append(Member(info.filename, offset, info.file_size))
    return members
