"""Make the manifest of a checkpoint: walk it, cut its files, digest their chunks; notice anything that changes
meanwhile.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from blake3 import blake3

from heliotrope.foundation.errors import Conflict, InvalidInput

from .cutting import Piece, cut
from .manifest import CHUNK_BYTES_LIMIT, FILE_MODE_MASK, FOLDER_MODE_MASK, Chunk, Entry, Manifest, check
from .names import escape, unescape
from .walk import Found, identity, walk

CHUNK_BYTES = 4 << 20


def build(root: Path, *, chunk_bytes: int = CHUNK_BYTES, threads: int = 1) -> Manifest:
    """The manifest of the file or folder ``root``; memory is bounded by ``threads`` chunks.

    Raises NotFound, InvalidInput naming what cannot be carried, Conflict naming what changed while it was read.
    """
    if not 64 << 10 <= chunk_bytes <= CHUNK_BYTES_LIMIT or chunk_bytes % 8:
        raise InvalidInput(
            f"cannot cut {root}: chunk_bytes is {chunk_bytes}; use a multiple of 8 from {64 << 10} to "
            f"{CHUNK_BYTES_LIMIT}"
        )
    entries: dict[bytes, Entry] = {}
    seen: dict[bytes, tuple[int, int, int, int]] = {}
    with ThreadPoolExecutor(threads, "digest") as pool:
        for found in walk(root):
            seen[found.path] = identity(found.status)
            entries[found.path] = _entry(found, root, chunk_bytes, _Digester(pool, 2 * threads))
    for found in walk(root):
        if seen.pop(found.path, None) != identity(found.status):
            raise changed(root, found.path)
    if seen:
        raise changed(root, next(iter(seen)))
    manifest = Manifest(tuple(entries[path] for path in sorted(entries)))
    check(manifest)
    return manifest


def changed(root: Path, path: bytes) -> Conflict:
    """The error for a file that was written while it was read."""
    name = escape(path) or root.name
    return Conflict(
        f"cannot read checkpoint {root}: {name!r} changed while it was read; "
        "finish a checkpoint under another name and rename it when it is whole"
    )


def _entry(found: Found, root: Path, chunk_bytes: int, digester: _Digester) -> Entry:
    status, path = found.status, escape(found.path)
    if stat.S_ISDIR(status.st_mode):
        return Entry(path, "dir", status.st_mode & FOLDER_MODE_MASK, status.st_mtime_ns)
    mode = status.st_mode & FILE_MODE_MASK
    if stat.S_ISLNK(status.st_mode):
        return Entry(path, "symlink", mode, status.st_mtime_ns, target=escape(found.link_target()))
    try:
        handle = found.open()
    except OSError as error:
        if isinstance(error, PermissionError):
            raise InvalidInput(f"cannot read {path!r} in {root}: {error.strerror}; let the agent read it") from error
        raise changed(root, found.path) from error
    try:
        if identity(os.fstat(handle)) != identity(status):
            raise changed(root, found.path)
        chunks = tuple(digester.chunks(handle, cut(handle, status.st_size, chunk_bytes)))
        if identity(os.fstat(handle)) != identity(status):
            raise changed(root, found.path)
    except EOFError as error:
        raise changed(root, found.path) from error
    finally:
        os.close(handle)
    return Entry(path, "file", mode, status.st_mtime_ns, status.st_size, chunks=chunks)


class _Digester:
    """Digests pieces on a pool, at most ``ahead`` at a time: mapping over all of them would read ahead without
    bound.
    """

    def __init__(self, pool: ThreadPoolExecutor, ahead: int) -> None:
        self._pool = pool
        self._ahead = ahead

    def chunks(self, handle: int, pieces: Iterator[Piece]) -> Iterator[Chunk]:
        """The pieces' chunks in order. Raises EOFError when the file ends early."""
        waiting: deque[Future[Chunk]] = deque()
        for piece in pieces:
            waiting.append(self._pool.submit(_digested, handle, piece))
            if len(waiting) > self._ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _digested(handle: int, piece: Piece) -> Chunk:
    data = os.pread(handle, piece.size_bytes, piece.offset)
    if len(data) != piece.size_bytes:
        raise EOFError
    return Chunk(piece.offset, piece.size_bytes, blake3(data).digest(), piece.width, piece.floating, piece.tensor)


def entry_path(root: Path, entry: Entry) -> Path:
    """Where the entry is below ``root`` (the root itself for the empty path)."""
    return root / os.fsdecode(unescape(entry.path)) if entry.path else root
