"""The transfer core: chunks of checkpoints to small frames and back, at memory speed, in plain C.

README.md draws the frame. Importing this package chooses the kernels (see ``kernels``).
"""

from __future__ import annotations

from .codec import (
    CODEC_VERSIONS,
    FRAME_VERSION,
    HEADER_BYTES,
    MAX_CHUNK_BYTES,
    Chunk,
    FrameInfo,
    boundaries,
    decode,
    encode,
    encode_parts,
    entropy_bits,
    inspect,
)
from .errors import KernelUnavailable, MalformedFrame, MissingBase
from .kernels import kernels, select_demanded

__all__ = [
    "CODEC_VERSIONS",
    "FRAME_VERSION",
    "HEADER_BYTES",
    "MAX_CHUNK_BYTES",
    "Chunk",
    "FrameInfo",
    "KernelUnavailable",
    "MalformedFrame",
    "MissingBase",
    "boundaries",
    "decode",
    "encode",
    "encode_parts",
    "entropy_bits",
    "inspect",
    "kernels",
    "select_demanded",
]

select_demanded()
