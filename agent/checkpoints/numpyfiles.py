"""Where the arrays are in numpy's .npy files and uncompressed .npz archives.

Format: numpy.lib.format, "Format Version 1.0" and later. Arrays of Python objects (pickles) and of records are left
as plain bytes.
"""

from __future__ import annotations

import ast
import os
import re

from .segments import Segment, clean_name
from .ziparchive import stored_members

_MAGIC = b"\x93NUMPY"
_HEADER_BYTES_LIMIT = 1 << 20
# A dtype as numpy writes it: byte order, kind, size. Without numpy, which would be a sixth of an idle agent's memory.
_DTYPE = re.compile(r"([<>|=]?)([biufcmMSUV])(\d{1,9})(\[\w+\])?")
_UCS4_BYTES = 4


def find_npy(handle: int, size_bytes: int) -> list[Segment] | None:
    """The one array of a .npy file; None if the file is not one."""
    segment = _array_at(handle, 0, size_bytes, "")
    return None if segment is None else [segment]


def find_npz(handle: int, size_bytes: int) -> list[Segment] | None:
    """The arrays of an uncompressed .npz archive; None if the file is not one."""
    members = stored_members(handle, size_bytes)
    if not members or not all(member.name.endswith(".npy") for member in members):
        return None
    found = (_array_at(handle, part.offset, part.size_bytes, part.name.removesuffix(".npy")) for part in members)
    return [segment for segment in found if segment is not None]


def _array_at(handle: int, offset: int, size_bytes: int, name: str) -> Segment | None:
    head = os.pread(handle, 12, offset)
    if head[:6] != _MAGIC or len(head) < 12:
        return None
    length_bytes = 2 if head[6] == 1 else 4
    start = 8 + length_bytes
    header_bytes = int.from_bytes(head[8:start], "little")
    if not 0 < header_bytes <= min(_HEADER_BYTES_LIMIT, size_bytes - start):
        return None
    try:
        fields = ast.literal_eval(os.pread(handle, header_bytes, offset + start).decode("latin-1"))
        described = _DTYPE.fullmatch(fields["descr"])
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        return None
    if described is None or described[1] == ">":
        return None
    kind, size = described[2], int(described[3])
    width = {"c": size // 2, "U": size * _UCS4_BYTES}.get(kind, size)
    data = start + header_bytes
    floating = kind in "fc" and width > 1
    return Segment(offset + data, size_bytes - data, width if width in (2, 4, 8) else 1, floating, clean_name(name))
