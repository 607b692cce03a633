"""The coders that benchmarks.codec compares, each on one thread, all fed the same bytes from memory."""

from __future__ import annotations

import importlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import zstandard

from heliotrope import native
from heliotrope.native import Chunk


class Unavailable(Exception):
    """A peer is not installed; the text says how to get it."""


class Coder(ABC):
    """One way to code chunks. ``prepare`` once, then ``encode`` and ``decode`` as often as wanted."""

    name = ""
    coded_bytes = 0

    @abstractmethod
    def prepare(self, chunks: Sequence[Chunk]) -> None:
        """Take what is to be coded. Raises Unavailable."""

    @abstractmethod
    def encode(self) -> None:
        """All of it, once."""

    @abstractmethod
    def decode(self) -> None:
        """What was encoded last."""

    @abstractmethod
    def check(self) -> None:
        """Code and decode once, note the size. Raises AssertionError unless every byte comes back."""


class Heliotrope(Coder):
    """Ours, at the effort of the speed path; with ``with_base`` against what the receiver holds."""

    def __init__(self, with_base: bool) -> None:
        self.name = "heliotrope, with base" if with_base else "heliotrope"
        self._with_base = with_base

    def prepare(self, chunks: Sequence[Chunk]) -> None:
        self._chunks = [chunk if self._with_base else chunk._replace(base=None) for chunk in chunks]
        self._outputs = [bytearray(memoryview(chunk.data).nbytes) for chunk in chunks]

    def encode(self) -> None:
        self._frames = native.encode(self._chunks)

    def decode(self) -> None:
        native.decode(self._frames, self._outputs, [chunk.base for chunk in self._chunks])

    def check(self) -> None:
        self.encode()
        self.decode()
        assert all(a.data == b for a, b in zip(self._chunks, self._outputs, strict=True)), self.name
        self.coded_bytes = sum(map(len, self._frames))


class Whole(Coder):
    """A peer: ``encode`` and ``decode`` map one buffer of one element width; runs of equal type are joined for it."""

    def __init__(
        self,
        name: str,
        make: Callable[[int], tuple[Callable[[bytes], Any], Callable[[Any], Any]]],
        *,
        only_floats: bool = False,
    ) -> None:
        self.name = name
        self._make = make
        self._only_floats = only_floats

    def prepare(self, chunks: Sequence[Chunk]) -> None:
        if self._only_floats and not any(chunk.floating for chunk in chunks):
            raise Unavailable("it codes floats only")
        self._pieces = list(_joined(chunks))
        self._pairs = [self._make(width) for width, _ in self._pieces]

    def encode(self) -> None:
        self._coded = [pair[0](data) for pair, (_, data) in zip(self._pairs, self._pieces, strict=True)]

    def decode(self) -> None:
        self._decoded = [pair[1](coded) for pair, coded in zip(self._pairs, self._coded, strict=True)]

    def check(self) -> None:
        self.encode()
        self.decode()
        for (_, data), back in zip(self._pieces, self._decoded, strict=True):
            assert data == bytes(back), self.name
        self.coded_bytes = sum(len(coded) for coded in self._coded)


class ZstdPatch(Coder):
    """zstd with the base as its prefix, what ``zstd --patch-from`` does, chunk by chunk."""

    def __init__(self, level: int) -> None:
        self.name = f"zstd -{level} --patch-from"
        self._level = level

    def prepare(self, chunks: Sequence[Chunk]) -> None:
        self._chunks = chunks
        # The window must reach over the chunk and its base, as --patch-from sees to; else the base is out of sight.
        self._parameters = zstandard.ZstdCompressionParameters.from_level(self._level, window_log=24, enable_ldm=True)

    def encode(self) -> None:
        self._coded = []
        for chunk in self._chunks:
            coder = zstandard.ZstdCompressor(compression_params=self._parameters, dict_data=_prefix(chunk))
            self._coded.append(coder.compress(memoryview(chunk.data)))

    def decode(self) -> None:
        self._decoded = [
            zstandard.ZstdDecompressor(dict_data=_prefix(chunk)).decompress(coded)
            for chunk, coded in zip(self._chunks, self._coded, strict=True)
        ]

    def check(self) -> None:
        self.encode()
        self.decode()
        assert all(a.data == b for a, b in zip(self._chunks, self._decoded, strict=True)), self.name
        self.coded_bytes = sum(map(len, self._coded))


def coders(*, with_base: bool) -> Iterator[Coder]:
    """Ours first; those that can use a base only where there is one."""
    yield Heliotrope(with_base)
    if with_base:
        yield ZstdPatch(1)
        yield ZstdPatch(3)
        return
    yield Whole("zstd -1", lambda _: _zstd(1))
    yield Whole("zstd -3", lambda _: _zstd(3))
    yield Whole("zipnn", _zipnn, only_floats=True)
    yield Whole("blosc2 shuffle zstd -1", _blosc2)


def _zstd(level: int) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    return zstandard.ZstdCompressor(level=level).compress, zstandard.ZstdDecompressor().decompress


def _zipnn(width: int) -> tuple[Callable[[bytes], Any], Callable[[Any], Any]]:
    kind = {4: "float32", 2: "bfloat16"}.get(width)
    if kind is None:
        return _zstd(1)
    made = _peer("zipnn").ZipNN(input_format="byte", bytearray_dtype=kind, threads=1)
    scratch = bytearray()

    def encode(data: bytes) -> Any:
        scratch[:] = data  # it rearranges in place what it is given; memory that is there already makes the copy cheap
        return made.compress(scratch)

    return encode, made.decompress


def _blosc2(width: int) -> tuple[Callable[[bytes], Any], Callable[[Any], Any]]:
    blosc2 = _peer("blosc2")
    settings = {"typesize": width, "clevel": 1, "codec": blosc2.Codec.ZSTD, "nthreads": 1}
    return (
        lambda data: blosc2.compress2(data, **settings, filters=[blosc2.Filter.SHUFFLE]),
        lambda coded: blosc2.decompress2(coded, nthreads=1),
    )


def _peer(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unavailable(f"cannot import {name}: {error}; pip install {name}") from error


def _joined(chunks: Sequence[Chunk]) -> Iterator[tuple[int, bytes]]:
    """Neighbours of one type as one buffer: a peer should not pay for our cutting small tensors apart."""
    for (width, _), group in itertools.groupby(chunks, key=lambda chunk: (chunk.width, chunk.floating)):
        yield width, b"".join(bytes(chunk.data) for chunk in group)


def _prefix(chunk: Chunk) -> zstandard.ZstdCompressionDict | None:
    if chunk.base is None:
        return None
    return zstandard.ZstdCompressionDict(bytes(chunk.base), dict_type=zstandard.DICT_TYPE_RAWCONTENT)
