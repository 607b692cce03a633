"""Write a checkpoint's tree, give it its modes and times, and prove that what is on disk is what its manifest says."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from heliotrope.foundation.errors import HeliotropeError
from heliotrope.foundation.records import sync_folder

from . import uncached
from .cutting import data_extents
from .manifest import DIGEST_BYTES, FILE_MODE_MASK, FOLDER_MODE_MASK, Chunk, Entry, Manifest
from .names import escape, unescape
from .reader import read_chunk
from .scan import entry_path
from .walk import Found, walk

Owner = tuple[int, int]
_HOLE_READ_BYTES = 1 << 20


def lay_out(root: Path, manifest: Manifest) -> None:
    """Make folders and files of their full size (all holes), private until :func:`seal`; what is there already stays.

    Raises OSError.
    """
    for entry in manifest.entries:
        path = entry_path(root, entry)
        if entry.kind == "dir":
            path.mkdir(mode=0o700, exist_ok=True)
        elif entry.kind == "file":
            if path.exists():
                path.chmod(0o600)  # an earlier attempt may have sealed it
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(handle, entry.size_bytes)
            finally:
                os.close(handle)


def write_chunk(root: Path, entry: Entry, chunk: Chunk, data: memoryview, *, cached: bool = True) -> None:
    """Put the chunk's bytes at their place. Raises OSError (ENOSPC when the disk is full).

    ``cached`` False: they are written out at once and do not stay in the page cache.
    """
    write = os.pwrite if cached else uncached.write
    handle = os.open(entry_path(root, entry), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        done = 0
        while done < len(data):
            done += write(handle, data[done:], chunk.offset + done)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Have the kernel write the file's bytes out now."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fdatasync(handle)
    finally:
        os.close(handle)


def seal(root: Path, manifest: Manifest, owner: Owner | None = None) -> None:
    """Make links, set owners, modes and times, and have everything written out: contents before their folders.

    Raises OSError.
    """
    for entry in manifest.entries:
        path = entry_path(root, entry)
        if entry.kind == "symlink":
            path.unlink(missing_ok=True)
            path.symlink_to(os.fsdecode(unescape(entry.target)))
    for entry in reversed(manifest.entries):
        path = entry_path(root, entry)
        if owner is not None:
            os.chown(path, *owner, follow_symlinks=False)
        if entry.kind != "symlink":
            path.chmod(entry.mode)
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)
        if entry.kind == "file":
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        elif entry.kind == "dir":
            sync_folder(path)


@dataclass(frozen=True)
class Observation:
    """What is on disk: ``manifest``, cut as the layout was; equal to it exactly if the restored tree is right."""

    manifest: Manifest
    bad_chunks: tuple[int, ...]


def observe(
    root: Path, layout: Manifest, *, threads: int = 1, on_bytes: Callable[[int], None] | None = None
) -> Observation:
    """Read everything below ``root`` back; a chunk that differs keeps a digest of zeros.

    The bytes come from the page cache as far as they are there: this proves what a process that opens the files
    reads, not what the medium holds (fsync answers for that). ``on_bytes`` is told sizes as they are read.
    """
    reader = _ReadBack(root, layout, on_bytes)
    with ThreadPoolExecutor(threads, "verify") as pool:
        shares = [pool.submit(reader.bad) for _ in range(threads)]  # a task for each chunk would be memory for each
        bad = {index for share in shares for index in share.result()}
    known: dict[str, tuple[Entry, int]] = {}
    first = 0
    for entry in layout.entries:
        known[entry.path] = (entry, first)
        first += len(entry.chunks)
    entries: dict[bytes, Entry] = {}
    for found in walk(root):
        entry, first = known.get(escape(found.path), (_NOTHING, 0))
        chunks = tuple(
            Chunk(chunk.offset, chunk.size_bytes, bytes(DIGEST_BYTES), chunk.width, chunk.floating, chunk.tensor)
            if first + position in bad
            else chunk
            for position, chunk in enumerate(entry.chunks)
        )
        entries[found.path] = _observed(found, entry, chunks)
    return Observation(Manifest(tuple(entries[path] for path in sorted(entries))), tuple(sorted(bad)))


_NOTHING = Entry("", "file", 0, 0)


class _ReadBack:
    """Reads chunks on several threads, each into its own buffer."""

    def __init__(self, root: Path, layout: Manifest, on_bytes: Callable[[int], None] | None) -> None:
        self.places = layout.places()
        self._root = root
        self._on_bytes = on_bytes
        self._lock = threading.Lock()
        self._begun = 0
        self._most_bytes = max((chunk.size_bytes for _, chunk in self.places), default=0)

    def bad(self) -> set[int]:
        """One thread's share: of the chunks that it came to, those that are not as they should be."""
        buffer = memoryview(bytearray(self._most_bytes))
        return {index for index in self._next() if not self._good(index, buffer)}

    def _next(self) -> Iterator[int]:
        while True:
            with self._lock:
                index = self._begun
                self._begun += 1
            if index >= len(self.places):
                return
            yield index

    def _good(self, index: int, buffer: memoryview) -> bool:
        entry, chunk = self.places[index]
        try:
            read_chunk(self._root, entry, chunk, buffer[: chunk.size_bytes])
        except HeliotropeError:
            return False
        if self._on_bytes is not None:
            self._on_bytes(chunk.size_bytes)
        return True


def _observed(found: Found, expected: Entry, chunks: tuple[Chunk, ...]) -> Entry:
    status, path = found.status, escape(found.path)
    if stat.S_ISDIR(status.st_mode):
        return Entry(path, "dir", status.st_mode & FOLDER_MODE_MASK, status.st_mtime_ns)
    mode = status.st_mode & FILE_MODE_MASK
    if stat.S_ISLNK(status.st_mode):
        return Entry(path, "symlink", mode, status.st_mtime_ns, target=escape(found.link_target()))
    handle = found.open()
    try:
        if not _holes_empty(handle, status.st_size, expected):
            chunks = ()  # differs from any manifest with bytes there
            path += "%"  # and from one without: no manifest spells a path so
    finally:
        os.close(handle)
    return Entry(path, "file", mode, status.st_mtime_ns, status.st_size, chunks=chunks)


def _holes_empty(handle: int, size_bytes: int, expected: Entry) -> bool:
    """Whether everything between the chunks reads as zeros; what the file system calls a hole need not be read."""
    starts = [0, *(chunk.offset + chunk.size_bytes for chunk in expected.chunks)]
    ends = [*(chunk.offset for chunk in expected.chunks), size_bytes]
    gaps = [(start, end) for start, end in zip(starts, ends, strict=True) if start < end]
    if not gaps:
        return True
    extents = list(data_extents(handle, size_bytes))
    for start, end in gaps:
        for data_start, data_end in extents:
            for at in range(max(start, data_start), min(end, data_end), _HOLE_READ_BYTES):
                if any(os.pread(handle, min(_HOLE_READ_BYTES, min(end, data_end) - at), at)):
                    return False
    return True
