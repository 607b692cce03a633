"""Segments: the runs of one element type inside a file, before they are cut into chunks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from heliotrope.native import entropy_bits

SMALL_BYTES = 32 << 10
_SAMPLE_BYTES = 64 << 10
_NAME_LIMIT = 512


@dataclass(frozen=True)
class Segment:
    """Bytes [offset, offset + size_bytes) of a file: elements of ``width`` bytes, of the tensor named ``tensor``."""

    offset: int
    size_bytes: int
    width: int = 1
    floating: bool = False
    tensor: str = ""

    @property
    def end(self) -> int:
        return self.offset + self.size_bytes


def clean_name(name: str) -> str:
    """A tensor's name as it may stand in a manifest: valid Unicode, at most 512 characters."""
    return name.encode("utf-8", "backslashreplace").decode()[-_NAME_LIMIT:]


def cover(found: Iterable[Segment], size_bytes: int) -> list[Segment] | None:
    """Segments that cover the whole file, gaps filled, small neighbours joined; None if they overlap or pass its end.

    Joining matters: a PyTorch file has hundreds of scalars (Adam's steps), each with its own zip header, and a chunk
    costs about
    0.1 ms whatever its size. A joined run takes the element type of most of its bytes.
    """
    whole: list[Segment] = []
    end = 0
    for segment in sorted((part for part in found if part.size_bytes), key=lambda part: part.offset):
        if segment.offset < end or segment.end > size_bytes:
            return None
        if segment.offset > end:
            whole.append(Segment(end, segment.offset - end))
        whole.append(segment)
        end = segment.end
    if end < size_bytes:
        whole.append(Segment(end, size_bytes - end))
    return list(_joined(whole))


def _joined(whole: list[Segment]) -> Iterable[Segment]:
    run: list[Segment] = []
    for segment in whole:
        if segment.size_bytes >= SMALL_BYTES:
            yield from _join(run)
            run = []
            yield segment
        else:
            run.append(segment)
    yield from _join(run)


def _join(run: list[Segment]) -> Iterable[Segment]:
    if len(run) == 1:
        yield run[0]
    elif run:
        share: dict[tuple[int, bool], int] = {}
        for part in run:
            kind = (part.width, part.floating)
            share[kind] = share.get(kind, 0) + part.size_bytes
        width, floating = max(share, key=lambda kind: share[kind])
        yield Segment(run[0].offset, run[-1].end - run[0].offset, width, floating)


def guess_type(handle: int, offset: int, size_bytes: int) -> tuple[int, bool]:
    """(width, floating) of unlabelled bytes: the element width whose byte planes have the least order-0 entropy.

    A wider type must win by 3 % or it is not believed; text and compressed bytes stay at width 1. Floats show by their
    planes getting smaller when the sign bit is rotated to the end (it is noise in front of a narrow exponent).
    """
    middle = (offset + max(0, (size_bytes - _SAMPLE_BYTES) // 2)) // 8 * 8
    start = max(offset, middle - (middle - offset) % 8)
    sample = os.pread(handle, min(_SAMPLE_BYTES, size_bytes), start)
    words = sample[: len(sample) // 8 * 8]
    if len(words) < 4096:
        return 1, False
    best, kind = _planes_bits(words, 1, False) * 0.97, (1, False)
    for width in (2, 4, 8):
        plain, turned = _planes_bits(words, width, False), _planes_bits(words, width, True)
        if min(plain, turned) < best:
            best, kind = min(plain, turned) * 0.99, (width, turned < plain)
    return kind


def _planes_bits(data: bytes, width: int, floating: bool) -> float:
    """Mean order-0 entropy of the byte planes, bits per byte; with ``floating`` the sign bit rotated to the end."""
    return sum(entropy_bits(data, width, floating)) / width


Finder = Callable[[int, int], list[Segment] | None]
"""Looks into an open file (descriptor, size in bytes) and says its segments, or None if it is not of its format."""


def typed(segments: list[Segment], handle: int) -> list[Segment]:
    """The same segments, each unlabelled large one (width 0) given a guessed type."""
    done = []
    for segment in segments:
        if segment.width == 0:
            width, floating = guess_type(handle, segment.offset, segment.size_bytes)
            segment = replace(segment, width=width, floating=floating)  # noqa: PLW2901
        done.append(segment)
    return done
