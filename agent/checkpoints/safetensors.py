"""Where the tensors are in a safetensors file: 8 bytes header length, a JSON header, then the tensors' bytes.

Format: https://github.com/huggingface/safetensors (README, "Format").
"""

from __future__ import annotations

import os
import struct

import msgspec

from .segments import Segment, clean_name

HEADER_BYTES_LIMIT = 100_000_000  # the format's own limit

_TYPES = {
    **dict.fromkeys(("F64",), (8, True)),
    **dict.fromkeys(("F32", "C64"), (4, True)),
    **dict.fromkeys(("F16", "BF16"), (2, True)),
    **dict.fromkeys(("I64", "U64"), (8, False)),
    **dict.fromkeys(("I32", "U32"), (4, False)),
    **dict.fromkeys(("I16", "U16"), (2, False)),
}


class _Tensor(msgspec.Struct):
    dtype: str
    data_offsets: tuple[int, int]


def find(handle: int, size_bytes: int) -> list[Segment] | None:
    """The file's tensors as segments, in header order; None if the file is not safetensors."""
    head = os.pread(handle, 9, 0)
    if len(head) < 9 or head[8:] != b"{":
        return None
    (header_bytes,) = struct.unpack("<Q", head[:8])
    if not 2 <= header_bytes <= min(HEADER_BYTES_LIMIT, size_bytes - 8):
        return None
    try:
        header = msgspec.json.decode(os.pread(handle, header_bytes, 8), type=dict[str, msgspec.Raw])
        header.pop("__metadata__", None)
        tensors = {name: msgspec.json.decode(raw, type=_Tensor) for name, raw in header.items()}
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    data = 8 + header_bytes
    found = []
    for name, tensor in tensors.items():
        start, end = tensor.data_offsets
        if not 0 <= start <= end <= size_bytes - data:
            return None
        width, floating = _TYPES.get(tensor.dtype, (1, False))
        found.append(Segment(data + start, end - start, width, floating, clean_name(name)))
    return found
