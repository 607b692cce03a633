"""Single planes through zstd: text, and planes of nearly one value, whose long runs only zstd sees."""

from __future__ import annotations

import threading

import zstandard

from .errors import MalformedFrame

LEVELS = (1, 1, 3, 9, 19)  # by effort

_local = threading.local()  # zstandard's contexts are made once per thread and level: they are not to be shared


def compress(plane: memoryview, effort: int) -> bytes:
    """The plane as one zstd frame that states its length."""
    level = LEVELS[min(effort, len(LEVELS) - 1)]
    contexts: dict[int, zstandard.ZstdCompressor] = _local.__dict__.setdefault("compressors", {})
    if level not in contexts:
        contexts[level] = zstandard.ZstdCompressor(level=level, write_checksum=False, write_content_size=True)
    return bytes(contexts[level].compress(plane))


def decompress(coded: memoryview, plane_bytes: int, name: str) -> bytes:
    """The plane again. Raises MalformedFrame when it is not one zstd frame of exactly `plane_bytes`: the length is
    checked before any memory is taken, so that a few bytes cannot ask for gigabytes."""
    try:
        if zstandard.frame_content_size(coded) != plane_bytes:
            raise MalformedFrame(f"cannot decode {name}: its zstd data has another length; ask the sender for it again")
        if "decompressor" not in _local.__dict__:
            _local.decompressor = zstandard.ZstdDecompressor()
        plane = bytes(_local.decompressor.decompress(coded, allow_extra_data=False))
    except zstandard.ZstdError as error:
        raise MalformedFrame(f"cannot decode {name}: {error}; ask the sender for it again") from None
    if len(plane) != plane_bytes:
        raise MalformedFrame(f"cannot decode {name}: its zstd data has another length; ask the sender for it again")
    return plane
