"""Where the tensors are in a PyTorch zip file (torch.save since 1.6): stored members ``NAME/data/KEY`` beside
``NAME/data.pkl``.
"""

from __future__ import annotations

import os

from .segments import Segment, clean_name, typed
from .torchpickle import storages
from .ziparchive import stored_members

PICKLE_BYTES_LIMIT = 64 << 20

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
    """The file's storages as segments; None if the file is not a PyTorch zip."""
    members = stored_members(handle, size_bytes)
    pickle = next((part for part in members or () if part.name.endswith("/data.pkl")), None)
    if members is None or pickle is None:
        return None
    known = {}
    if pickle.size_bytes <= PICKLE_BYTES_LIMIT:
        known = storages(os.pread(handle, pickle.size_bytes, pickle.offset))
    prefix = pickle.name.removesuffix("data.pkl") + "data/"
    found = []
    for member in members:
        if member.name.startswith(prefix):
            key = member.name.removeprefix(prefix)
            kind, name = known.get(key, ("", ""))
            width, floating = _TYPES.get(kind, _UNKNOWN)
            found.append(Segment(member.offset, member.size_bytes, width, floating, clean_name(name or f"data/{key}")))
    return typed(found, handle)
