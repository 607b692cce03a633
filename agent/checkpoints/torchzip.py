"""Where the tensors are in a PyTorch zip file (torch.save since 1.6): stored members ``NAME/data/KEY`` beside
``NAME/data.pkl``.

torch.distributed.checkpoint writes one such archive per tensor, one after the other in one .distcp file. The tensors'
own names are in ``.metadata``, which only torch reads; here each is known by its place, counted from the end.
"""

from __future__ import annotations

import os

from .segments import Segment, clean_name, typed
from .torchpickle import storages
from .ziparchive import stored_members

PICKLE_BYTES_LIMIT = 64 << 20
ARCHIVES_LIMIT = 100_000

_TYPES = {
    "DoubleStorage": (8, True),
    "FloatStorage": (4, True),
    "HalfStorage": (2, True),
    "BFloat16Storage": (2, True),
    "ComplexFloatStorage": (4, True),
    "ComplexDoubleStorage": (8, True),
    "LongStorage": (8, False),
    "IntStorage": (4, False),
    "ShortStorage": (2, False),
    "CharStorage": (1, False),
    "ByteStorage": (1, False),
    "BoolStorage": (1, False),
}
_UNKNOWN = (0, False)  # guessed from the bytes: UntypedStorage says nothing


def find(handle: int, size_bytes: int) -> list[Segment] | None:
    """The file's storages as segments; None if the file is not a PyTorch zip, or does not begin with one."""
    found: list[Segment] = []
    end = size_bytes
    for number in range(ARCHIVES_LIMIT):
        archive = _archive(handle, end, f"{number}/" if end < size_bytes else "")
        if archive is None:
            break
        # Strictly before this one's directory, so that no byte is parsed twice.
        segments, end = archive
        found.extend(segments)
        if end == 0:
            break
    return typed(found, handle) if end < size_bytes else None


def _archive(handle: int, end: int, prefix: str) -> tuple[list[Segment], int] | None:
    """The storages of the archive that ends there and where it begins; None if it is not PyTorch's."""
    members = stored_members(handle, end)
    pickle = next((part for part in members or () if part.name.endswith("/data.pkl")), None)
    if members is None or pickle is None:
        return None
    known = {}
    if pickle.size_bytes <= PICKLE_BYTES_LIMIT:
        known = storages(os.pread(handle, pickle.size_bytes, pickle.offset))
    folder = pickle.name.removesuffix("data.pkl") + "data/"
    found = []
    for member in members:
        if member.name.startswith(folder):
            key = member.name.removeprefix(folder)
            kind, name = known.get(key, ("", ""))
            width, floating = _TYPES.get(kind, _UNKNOWN)
            name = prefix + (name or f"data/{key}")
            found.append(Segment(member.offset, member.size_bytes, width, floating, clean_name(name)))
    return found, min(member.header for member in members)
