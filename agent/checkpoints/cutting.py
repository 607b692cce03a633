"""Cut an open file into chunks: by tensor where its format is known, by content elsewhere; holes are left out."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass

from heliotrope.native import boundaries

from . import numpyfiles, safetensors, torchzip
from .segments import Finder, Segment, cover, guess_type

# Smaller chunks find more shared bytes in code and data, larger ones cost less each; tensors need no smaller ones,
# since they are compared at fixed offsets.
CONTENT_MINIMUM_BYTES = 64 << 10
CONTENT_AVERAGE_BYTES = 256 << 10
CONTENT_MAXIMUM_BYTES = 1 << 20
_WINDOW_BYTES = 16 << 20
_FINDERS: tuple[Finder, ...] = (safetensors.find, torchzip.find, numpyfiles.find_npz, numpyfiles.find_npy)


@dataclass(frozen=True)
class Piece:
    """A chunk to be: where it is and what its elements are."""

    offset: int
    size_bytes: int
    width: int
    floating: bool
    tensor: str


def cut(handle: int, size_bytes: int, chunk_bytes: int) -> Iterator[Piece]:
    """The pieces of a file in order. ``chunk_bytes``: the largest piece of a tensor; a multiple of 8."""
    extents = list(data_extents(handle, size_bytes))
    if not extents:
        return
    for finder in _FINDERS:
        found = finder(handle, size_bytes)
        segments = cover(found, size_bytes) if found else None
        if segments:
            yield from _fixed(segments, extents, chunk_bytes)
            return
    width, floating = guess_type(handle, extents[0][0], extents[0][1] - extents[0][0])
    for start, end in extents:
        yield from _by_content(handle, start, end, width, floating)


def data_extents(handle: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """[start, end) of each run that is not a hole; the whole file where the file system does not tell."""
    start = 0
    while start < size_bytes:
        try:
            start = os.lseek(handle, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # only a hole up to the end
            yield start, size_bytes
            return
        end = min(os.lseek(handle, start, os.SEEK_HOLE), size_bytes)
        if start < end:
            yield start, end
        start = end


def _fixed(segments: list[Segment], extents: list[tuple[int, int]], chunk_bytes: int) -> Iterator[Piece]:
    """Fixed offsets inside each tensor, so that the same element is at the same place in the next checkpoint's chunk.

    A piece that lies in a hole as a whole is left out; one that touches data is kept whole.
    """
    current = 0
    for segment in segments:
        for offset in range(segment.offset, segment.end, chunk_bytes):
            end = min(offset + chunk_bytes, segment.end)
            while current < len(extents) and extents[current][1] <= offset:
                current += 1
            if current < len(extents) and extents[current][0] < end:
                yield Piece(offset, end - offset, segment.width, segment.floating, segment.tensor)


def _by_content(handle: int, start: int, end: int, width: int, floating: bool) -> Iterator[Piece]:
    """Gear-hash boundaries, read through a window; the last run of a window is carried over unless the data ends
    there.
    """
    while start < end:
        window = os.pread(handle, min(_WINDOW_BYTES, end - start), start)
        if not window:
            return  # the file shrank: the caller compares its state before and after
        ends = boundaries(
            window,
            minimum_bytes=CONTENT_MINIMUM_BYTES,
            average_bytes=CONTENT_AVERAGE_BYTES,
            maximum_bytes=CONTENT_MAXIMUM_BYTES,
        )
        if start + len(window) < end:
            ends = ends[:-1]
        before = 0
        for boundary in _aligned(ends, width, last=start + len(window) >= end):
            yield Piece(start + before, boundary - before, width, floating, "")
            before = boundary
        start += before


def _aligned(ends: list[int], width: int, *, last: bool) -> Iterator[int]:
    """Boundaries rounded down to whole elements: a chunk that begins inside a number codes badly. The data's end
    stays.
    """
    for position, boundary in enumerate(ends):
        yield boundary if last and position == len(ends) - 1 else boundary - boundary % width
