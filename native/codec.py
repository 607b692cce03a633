"""Chunks to frames and back.

The C core makes a whole valid frame of each chunk and says which planes zstd should still shrink (text, and planes of
nearly one value, which it left raw); this module runs those through `zstandard` and writes the frame anew. Everything
heavy runs without the GIL, so threads are real.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from . import _core, planes, pool
from .errors import MissingBase

if TYPE_CHECKING:
    from typing_extensions import Buffer

FRAME_VERSION: int = _core.FRAME_VERSION
#: Versions of the frame that decode() understands, the newest first; both ends agree on one in their hello.
CODEC_VERSIONS: tuple[int, ...] = (_core.FRAME_VERSION, 1)
#: A frame is never longer than its chunk plus this.
HEADER_BYTES: int = _core.HEADER_BYTES
MAX_CHUNK_BYTES: int = _core.MAX_CHUNK_BYTES

DELTAS = ("none", "xor", "difference")
CODECS = ("constant", "raw", "huffman", "zstd", "septets", "folded", "ans", "sparse")
ZSTD = CODECS.index("zstd")
ENTRY_LENGTH_BITS = 28


class Chunk(NamedTuple):
    """One piece of a tensor or file.

    width: bytes per element (1, 2, 4, 8); a last partial element is allowed. floating: elements are IEEE-like floats
    (sign bit on top). base: the bytes that the receiver holds for the same piece, of the same length, or None.
    """

    data: Buffer
    width: int = 1
    floating: bool = False
    base: Buffer | None = None


class FrameInfo(NamedTuple):
    """What a frame says about itself. planes: the codec of each byte plane, lowest first; empty when stored whole."""

    raw_bytes: int
    frame_bytes: int
    width: int
    floating: bool
    delta: str
    planes: tuple[str, ...]
    plane_bytes: tuple[int, ...]

    @property
    def needs_base(self) -> bool:
        return self.delta != "none"

    @property
    def is_stored(self) -> bool:
        """Whether the chunk itself follows the first HEADER_BYTES."""
        return not self.planes


def encode(chunks: Sequence[Chunk], *, effort: int = 1, threads: int = 1) -> list[bytes]:
    """One frame per chunk, each at most HEADER_BYTES longer than its chunk.

    effort 0 stores (and only notices repetition and an unchanged base), 1 is the speed path, higher values give zstd
    a higher level (2: 3, 3: 9, 4 and more: 19) and code planes that gain little. With a base,
    a delta is used when a sample says that it pays. Raises ValueError naming the field of a chunk that is not
    allowed.
    """
    return _encode(chunks, effort, threads, header_only=False)


def encode_parts(chunks: Sequence[Chunk], *, effort: int = 1, threads: int = 1) -> list[tuple[bytes, Buffer]]:
    """Like :func:`encode`, each frame in two parts that belong together: a chunk stored whole is not copied, its second
    part is its own data.
    """
    frames = _encode(chunks, effort, threads, header_only=True)
    return [
        (frame, chunk.data if len(frame) == HEADER_BYTES else b"") for chunk, frame in zip(chunks, frames, strict=True)
    ]


def decode(
    frames: Sequence[Buffer], outputs: Sequence[Buffer], bases: Sequence[Buffer | None], *, threads: int = 1
) -> None:
    """Writes each frame's chunk into its output (a writable buffer of exactly its raw_bytes).

    bases[i] is what frame i was coded against, or None. Raises MalformedFrame (MissingBase when only the base is
    wrong), naming the frame by its index in its thread's share; outputs may then hold anything.
    """
    if not len(frames) == len(outputs) == len(bases):
        raise ValueError(
            f"cannot decode: {len(frames)} frames, {len(outputs)} outputs, {len(bases)} bases; give as many of each"
        )
    groups = pool.cut([memoryview(o).nbytes for o in outputs], threads)
    pool.run(lambda group: _decode_group(frames[group], outputs[group], bases[group]), groups, threads)


def inspect(frame: Buffer) -> FrameInfo:
    """Reads a frame's header without decoding it. Raises MalformedFrame when it is not a whole frame."""
    raw_bytes, width, floating, delta, _, found = _core.parse(frame)
    return FrameInfo(
        raw_bytes,
        memoryview(frame).nbytes,
        width,
        floating,
        DELTAS[delta],
        tuple(CODECS[codec] for codec, _, _ in found),
        tuple(length for _, _, length in found),
    )


def entropy_bits(
    data: Buffer, width: int = 1, floating: bool = False, *, base: Buffer | None = None, delta: str = "none"
) -> list[float]:
    """Order-0 entropy of each byte plane in bits per byte (Shannon), from exact counts: the limit for a coder that
    looks at single bytes. delta: "none", "xor" or "difference" against base."""
    if delta not in DELTAS:
        raise ValueError(f"cannot measure entropy: delta is {delta!r}; use one of {', '.join(DELTAS)}")
    if delta != "none" and base is None:
        raise MissingBase(f"cannot measure entropy: delta {delta!r} needs a base; give one of equal length")
    split = _core.split(data, width, floating, DELTAS.index(delta), base, "auto")
    return [_core.entropy(plane) for plane in split]


def boundaries(data: Buffer, *, minimum_bytes: int, average_bytes: int, maximum_bytes: int) -> list[int]:
    """End offsets of content-defined chunks of `data`: equal content is cut equally wherever it lies.

    Every chunk but the last has minimum_bytes to maximum_bytes. Raises ValueError unless 64 <= minimum < average <
    maximum.
    """
    if not 64 <= minimum_bytes < average_bytes < maximum_bytes:
        raise ValueError(
            f"cannot cut: lengths are {minimum_bytes}, {average_bytes}, {maximum_bytes}; "
            "give 64 <= minimum_bytes < average_bytes < maximum_bytes"
        )
    return _core.boundaries(data, minimum_bytes, average_bytes, maximum_bytes)


def _encode(chunks: Sequence[Chunk], effort: int, threads: int, *, header_only: bool) -> list[bytes]:
    if effort < 0:
        raise ValueError(f"cannot encode: effort is {effort}; give 0 or more")
    groups = pool.cut([memoryview(c.data).nbytes for c in chunks], threads)
    coded = pool.run(lambda group: _encode_group(chunks[group], effort, header_only), groups, threads)
    return [frame for frames in coded for frame in frames]


def _encode_group(chunks: Sequence[Chunk], effort: int, header_only: bool) -> list[bytes]:
    coded = _core.encode_batch([(c.data, c.width, c.floating, c.base) for c in chunks], effort, header_only)
    return [
        _shrink(chunk, frame, candidates, effort, header_only) if candidates else frame
        for chunk, (frame, candidates) in zip(chunks, coded, strict=True)
    ]


def _shrink(chunk: Chunk, frame: bytes, candidates: int, effort: int, header_only: bool) -> bytes:
    """The frame with its candidate planes (bit p: plane p) compressed where that makes them shorter."""
    raw_bytes, width, _, _, _, found = _core.parse(frame)
    entries = []
    payload = [memoryview(frame)[HEADER_BYTES + 4 * width : found[0][1]]]
    for plane, (was, offset, length) in enumerate(found):
        codec, piece = was, memoryview(frame)[offset : offset + length]
        if candidates >> plane & 1:
            shorter = planes.compress(piece, effort)
            if len(shorter) < length:
                codec, piece = ZSTD, memoryview(shorter)
        entries.append(codec << ENTRY_LENGTH_BITS | len(piece))
        payload.append(piece)
    whole = b"".join([frame[:HEADER_BYTES], struct.pack(f"<{width}I", *entries), *payload])
    if len(whole) <= raw_bytes + HEADER_BYTES:
        return whole
    return _core.encode_batch([(chunk.data, chunk.width, chunk.floating, None)], 0, header_only)[0][0]


def _decode_group(frames: Sequence[Buffer], outputs: Sequence[Buffer], bases: Sequence[Buffer | None]) -> None:
    inflated: dict[int, dict[int, bytes]] = {}
    for index, plane, offset, length, plane_bytes in _core.zstd_planes(list(frames)):
        piece = memoryview(frames[index]).cast("B")[offset : offset + length]
        inflated.setdefault(index, {})[plane] = planes.decompress(piece, plane_bytes, f"frame {index}, plane {plane}")
    _core.decode_batch(list(frames), list(outputs), list(bases), inflated)
