"""The content-addressed store: a digest -> where its bytes are, in a pinned checkpoint's file or in a chunk file of
its own.

On disk, all of it rebuilt at start:
  chunks/aa/DIGEST        a chunk's bytes, written to a temporary name, synced, renamed: whole or absent
  damaged/DIGEST          a chunk file whose bytes were not its name's: not held, gone with the next collection
  references/NAME         a checkpoint that keeps its chunks: its manifest, and where its files are if they stay in
  place
Chunk files that no reference names are garbage. Nothing read is trusted: every read checks the digest.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
from blake3 import blake3

from heliotrope.foundation import failpoints
from heliotrope.foundation.errors import Corrupt, HeliotropeError, InvalidInput, NotFound, OutOfSpace
from heliotrope.foundation.records import sync_folder, write_durably

from . import manifest as manifests
from .manifest import Manifest
from .reader import CheckpointReader
from .scan import entry_path

log = logging.getLogger("heliotrope.agent.store")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
failpoints.register("store.chunk.written", "store.chunk.renamed", "store.reference.persisted")


class _Reference(msgspec.Struct, array_like=True):
    version: int
    root: bytes
    manifest: bytes


@dataclass(frozen=True)
class Damage:
    """A chunk whose bytes are not its digest's. ``where``: the file."""

    digest: bytes
    where: Path
    cause: str


@dataclass(frozen=True)
class Verification:
    """What :meth:`ChunkStore.verify` saw."""

    chunk_count: int
    size_bytes: int
    damaged: tuple[Damage, ...]


class ChunkStore:
    """The chunks of one node. Safe to use from several threads of one process; one process per folder."""

    def __init__(self, folder: Path, *, quota_bytes: int, reserve_bytes: int = 0) -> None:
        """``quota_bytes``: most that chunk files may take together; ``reserve_bytes``: kept free on the disk."""
        self._chunks = folder / "chunks"
        self._references = folder / "references"
        self._damaged = folder / "damaged"
        self._quota_bytes = quota_bytes
        self._reserve_bytes = reserve_bytes
        self._lock = threading.RLock()
        self._kept: dict[bytes, int] = {}
        self._readers: dict[str, CheckpointReader] = {}
        self._in_place: dict[bytes, list[tuple[str, int]]] = {}
        self._used_bytes = 0
        for path in (self._chunks, self._references):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._load()

    @property
    def used_bytes(self) -> int:
        """Bytes in chunk files; chunks that are referenced in place take none."""
        return self._used_bytes

    def has(self, digest: bytes) -> bool:
        """Whether the bytes should be here; only reading proves it."""
        with self._lock:
            return digest in self._kept or digest in self._in_place

    def get(self, digest: bytes) -> bytes:
        """The chunk's bytes. Raises NotFound; Corrupt when all that is here is damaged."""
        with self._lock:
            size_bytes = self._size(digest)
        buffer = bytearray(size_bytes)
        self.readinto(digest, memoryview(buffer))
        return bytes(buffer)

    def readinto(self, digest: bytes, buffer: memoryview) -> None:
        """Fill ``buffer`` (the chunk's size). A damaged place is forgotten and the next one tried.

        Raises NotFound when the digest is unknown, Corrupt naming the last damaged file.
        """
        with self._lock:
            known = self.has(digest)
            places = list(self._in_place.get(digest, ()))
            kept = digest in self._kept
        last: HeliotropeError | None = None
        if kept:
            try:
                return _read_kept(self._path(digest), digest, buffer)
            except HeliotropeError as error:
                last = error
                self._set_aside(digest)
        for name, index in places:
            reader = self._readers.get(name)
            try:
                if reader is not None:
                    return reader.read_into(index, buffer)
            except HeliotropeError as error:
                last = error
                self._forget(digest, name)
        if not known or last is None:
            raise NotFound(f"cannot read chunk {digest.hex()[:16]}: the store does not hold it; fetch it from a peer")
        raise Corrupt(str(last)) from last

    def put(self, data: bytes | bytearray | memoryview) -> bytes:
        """Keep bytes in a chunk file and return their digest; durable on return, no effect if they are here.

        Raises OutOfSpace before anything is written when the quota or the disk would be exceeded. Add the reference
        that needs the chunk first: what is not referenced is garbage.
        """
        digest = blake3(data).digest()
        size_bytes = memoryview(data).nbytes
        with self._lock:
            if digest in self._kept:
                return digest
            self._make_room(size_bytes)
            self._kept[digest] = size_bytes
            self._used_bytes += size_bytes
        try:
            self._write(digest, data)
        except BaseException as error:
            with self._lock:
                self._kept.pop(digest, None)
                self._used_bytes -= size_bytes
            if isinstance(error, OSError):
                raise OutOfSpace(
                    f"cannot keep a chunk of {size_bytes} bytes: {error.strerror}; free the disk"
                ) from error
            raise
        return digest

    def add_reference(self, name: str, manifest: Manifest, root: Path | None = None) -> None:
        """Keep the chunks of a checkpoint as long as ``name`` stands; with ``root`` its files serve them in place.

        The same name again replaces it. Raises InvalidInput for a bad name.
        """
        self._check_name(name)
        record = _Reference(1, os.fsencode(root) if root else b"", manifests.encode(manifest))
        with self._lock:
            write_durably(self._references / name, msgspec.msgpack.encode(record))
            failpoints.hit("store.reference.persisted")
            self._drop(name)
            self._hold(name, manifest, root)

    def remove_reference(self, name: str) -> None:
        """Let the checkpoint's chunks go (:meth:`collect` frees them); no error if it is gone."""
        self._check_name(name)
        with self._lock:
            (self._references / name).unlink(missing_ok=True)
            sync_folder(self._references)
            self._drop(name)

    def references(self) -> dict[str, CheckpointReader]:
        """Name -> the referenced checkpoint."""
        with self._lock:
            return dict(self._readers)

    def reference_of(self, manifest_digest: bytes) -> CheckpointReader | None:
        """A referenced checkpoint whose files are in place, by its manifest's digest; None if there is none."""
        with self._lock:
            for reader in self._readers.values():
                if reader.digest == manifest_digest and reader.root != Path():
                    return reader
        return None

    def collect(self) -> int:
        """Remove chunk files that no reference names; returns the bytes freed."""
        freed_bytes = 0
        with self._lock:
            if not self._kept and not self._damaged.exists():
                return 0
            needed = {chunk.digest for reader in self._readers.values() for _, chunk in reader.places}
            for digest in [known for known in self._kept if known not in needed]:
                freed_bytes += self._remove(digest)
            for path in self._damaged.glob("*"):
                freed_bytes += path.stat().st_size
                path.unlink()
        return freed_bytes

    def distrust(self, name: str, digests: Iterable[bytes]) -> None:
        """These chunks of the checkpoint ``name`` are damaged: from now on it does not count as holding them."""
        for digest in digests:
            self._forget(digest, name)

    def verify(self, *, remove: bool = False) -> Verification:
        """Read every chunk back. With ``remove``, damaged chunk files are deleted so that a peer's copy can take
        their place.
        """
        damaged: list[Damage] = []
        count = size_bytes = 0
        for digest, where, chunk_bytes, check in list(self._checks()):
            count += 1
            size_bytes += chunk_bytes
            try:
                check(memoryview(bytearray(chunk_bytes)))
            except HeliotropeError as error:
                damaged.append(Damage(digest, where, str(error)))
                if remove and where == self._path(digest):
                    with self._lock:
                        self._remove(digest)
        return Verification(count, size_bytes, tuple(damaged))

    def _checks(self) -> Iterator[tuple[bytes, Path, int, Callable[[memoryview], None]]]:
        """Everything to verify: (digest, file, size in bytes, a call that reads it and raises)."""
        with self._lock:
            kept, readers = dict(self._kept), dict(self._readers)
        for digest, size_bytes in kept.items():
            path = self._path(digest)
            yield digest, path, size_bytes, partial(_read_kept, path, digest)
        for reader in readers.values():
            if reader.root != Path():
                for index, (entry, chunk) in enumerate(reader.places):
                    where = entry_path(reader.root, entry)
                    yield chunk.digest, where, chunk.size_bytes, partial(reader.read_into, index)

    def _load(self) -> None:
        for half in self._chunks.glob("??/.*.tmp"):
            half.unlink()
        for path in self._chunks.glob("??/*"):
            with contextlib.suppress(ValueError):
                digest = bytes.fromhex(path.name)
                self._kept[digest] = path.stat().st_size
                self._used_bytes += self._kept[digest]
        for path in sorted(self._references.iterdir()):
            if _NAME.fullmatch(path.name):
                try:
                    root, manifest = read_reference(path)
                except HeliotropeError as error:
                    # A node must come up with the rest of what it holds; the scrub reports this checkpoint as damaged.
                    log.error("%s", error)
                else:
                    self._hold(path.name, manifest, root)

    def _hold(self, name: str, manifest: Manifest, root: Path | None) -> None:
        reader = CheckpointReader(root or Path(), manifest)
        self._readers[name] = reader
        if root:
            for index, (_, chunk) in enumerate(reader.places):
                self._in_place.setdefault(chunk.digest, []).append((name, index))

    def _drop(self, name: str) -> None:
        reader = self._readers.pop(name, None)
        for _, chunk in reader.places if reader else ():
            self._forget(chunk.digest, name)

    def _forget(self, digest: bytes, name: str) -> None:
        with self._lock:
            left = [place for place in self._in_place.get(digest, ()) if place[0] != name]
            if left:
                self._in_place[digest] = left
            else:
                self._in_place.pop(digest, None)

    def _size(self, digest: bytes) -> int:
        if digest in self._kept:
            return self._kept[digest]
        for name, index in self._in_place.get(digest, ()):
            return self._readers[name].places[index][1].size_bytes
        raise NotFound(f"cannot read chunk {digest.hex()[:16]}: the store does not hold it; fetch it from a peer")

    def _make_room(self, size_bytes: int) -> None:
        if self._used_bytes + size_bytes > self._quota_bytes:
            raise OutOfSpace(
                f"cannot keep a chunk of {size_bytes} bytes: {self._used_bytes} of the store's {self._quota_bytes} "
                "are used; "
                "raise the quota or remove checkpoints"
            )
        free_bytes = shutil.disk_usage(self._chunks).free - self._reserve_bytes
        if free_bytes < size_bytes:
            raise OutOfSpace(
                f"cannot keep a chunk of {size_bytes} bytes: the disk has {free_bytes} to spare; free some"
            )

    def _write(self, digest: bytes, data: bytes | bytearray | memoryview) -> None:
        path = self._path(digest)
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            sync_folder(self._chunks)
        half = path.with_name(f".{path.name}.tmp")
        try:
            with open(half, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            failpoints.hit("store.chunk.written")
            half.rename(path)
        except BaseException:
            half.unlink(missing_ok=True)
            raise
        failpoints.hit("store.chunk.renamed")
        sync_folder(path.parent)

    def _set_aside(self, digest: bytes) -> None:
        """A damaged chunk file is not counted as held any more; :meth:`collect` removes it."""
        with self._lock:
            path = self._path(digest)
            self._used_bytes -= self._kept.pop(digest, 0)
            self._damaged.mkdir(mode=0o700, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                path.rename(self._damaged / path.name)

    def _remove(self, digest: bytes) -> int:
        size_bytes = self._kept.pop(digest, 0)
        self._path(digest).unlink(missing_ok=True)
        self._used_bytes -= size_bytes
        return size_bytes

    def _path(self, digest: bytes) -> Path:
        text = digest.hex()
        return self._chunks / text[:2] / text

    @staticmethod
    def _check_name(name: str) -> None:
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"cannot use reference name {name!r}: letters, digits, '.', '_' and '-' only; rename it")


def read_reference(path: Path) -> tuple[Path | None, Manifest]:
    """(where the files are if they stay in place, manifest) of a reference. Raises NotFound, Corrupt."""
    try:
        record = msgspec.msgpack.decode(path.read_bytes(), type=_Reference)
    except FileNotFoundError as error:
        raise NotFound(f"cannot read {path}: it is gone; take the checkpoint in again") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(f"cannot read {path}: {error}; remove it and take the checkpoint in again") from error
    return (Path(os.fsdecode(record.root)) if record.root else None), manifests.decode(record.manifest)


def _read_kept(path: Path, digest: bytes, buffer: memoryview) -> None:
    try:
        with open(path, "rb", buffering=0) as file:
            count = file.readinto(buffer)
    except OSError as error:
        raise NotFound(f"cannot read chunk file {path}: {error.strerror}; fetch the chunk from a peer") from error
    if count != len(buffer) or blake3(buffer).digest() != digest:
        raise Corrupt(f"cannot read chunk file {path}: its bytes are not its name's; fetch the chunk from a peer")
