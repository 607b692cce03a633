"""The manifest: what a checkpoint is made of, down to chunks with digests. Its own digest is the checkpoint's name.

Two checkpoints with equal manifests restore to equal folders: names, modes, times, sizes, links, holes and every byte.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from blake3 import blake3
from msgspec import Meta

from heliotrope.foundation.errors import Corrupt, Incompatible, InvalidInput

from .names import check_links, check_path

MANIFEST_VERSION = 1
DIGEST_BYTES = 32
CHUNK_BYTES_LIMIT = 16 << 20
ENTRIES_LIMIT = 4_000_000
SIZE_BYTES_LIMIT = 1 << 56
FILE_MODE_MASK = 0o777  # a restored file never becomes set-user-id: its owner may differ on the other node
FOLDER_MODE_MASK = 0o3777

Size = Annotated[int, Meta(ge=0, le=SIZE_BYTES_LIMIT)]
Digest = Annotated[bytes, Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]


class Chunk(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A run of a file's bytes. ``width``: bytes per element; ``tensor``: its name, empty where unknown."""

    offset: Size
    size_bytes: Annotated[int, Meta(ge=1, le=CHUNK_BYTES_LIMIT)]
    digest: Digest
    width: Annotated[int, Meta(ge=1, le=8)]
    floating: bool
    tensor: Annotated[str, Meta(max_length=512)]


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A file, folder or symlink. ``path``: escaped, relative, empty for the root; gaps between chunks are holes."""

    path: Annotated[str, Meta(max_length=3 * 4096)]
    kind: Literal["file", "dir", "symlink"]
    mode: Annotated[int, Meta(ge=0, le=0o7777)]
    mtime_ns: int
    size_bytes: Size = 0
    target: Annotated[str, Meta(max_length=3 * 4096)] = ""
    chunks: tuple[Chunk, ...] = ()


class Manifest(msgspec.Struct, frozen=True, array_like=True):
    """Entries in the byte order of their paths, the root first."""

    entries: tuple[Entry, ...]

    @property
    def state_bytes(self) -> int:
        """Sum of the files' sizes, holes included."""
        return sum(entry.size_bytes for entry in self.entries)

    @property
    def data_bytes(self) -> int:
        """Sum of the chunks' sizes: what is really stored."""
        return sum(chunk.size_bytes for entry in self.entries for chunk in entry.chunks)

    def places(self) -> list[tuple[Entry, Chunk]]:
        """Every chunk with its file, in order; the position in this list is the chunk's index on the wire."""
        return [(entry, chunk) for entry in self.entries for chunk in entry.chunks]


def shared_bytes(manifest: Manifest, other: Manifest) -> int:
    """How many of ``manifest``'s data bytes lie in chunks that ``other`` has, too."""
    there = {chunk.digest for _, chunk in other.places()}
    return sum(chunk.size_bytes for _, chunk in manifest.places() if chunk.digest in there)


def encode(manifest: Manifest) -> bytes:
    """Version byte and msgpack arrays: one manifest, one spelling."""
    return bytes([MANIFEST_VERSION]) + msgspec.msgpack.encode(manifest)


def digest(manifest: Manifest) -> bytes:
    """BLAKE3 of :func:`encode`, 32 bytes."""
    return blake3(encode(manifest)).digest()


def decode(data: bytes | bytearray | memoryview) -> Manifest:
    """Read what :func:`encode` wrote and check it as the untrusted input it is.

    Raises Incompatible for another version, Corrupt for bytes that are not a manifest, InvalidInput naming the entry
    that is unsafe.
    """
    view = memoryview(data)
    if not view or view[0] != MANIFEST_VERSION:
        found = view[0] if view else "nothing"
        raise Incompatible(
            f"cannot read manifest: version {found}, this agent knows {MANIFEST_VERSION}; upgrade the older agent"
        )
    try:
        manifest = msgspec.msgpack.decode(view[1:], type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(f"cannot read manifest: {error}; fetch it again") from error
    check(manifest)
    return manifest


def check(manifest: Manifest) -> None:
    """Raise InvalidInput unless every path stays inside, order is canonical and chunks fit their files."""
    if not 1 <= len(manifest.entries) <= ENTRIES_LIMIT:
        raise InvalidInput(
            f"cannot use manifest: it has {len(manifest.entries)} entries; 1 to {ENTRIES_LIMIT} are allowed"
        )
    if manifest.entries[0].path != "" or manifest.entries[0].kind == "symlink":
        raise InvalidInput("cannot use manifest: its first entry is not the root file or folder; make it again")
    folders: set[bytes] = set()
    before: bytes | None = None
    for entry in manifest.entries:
        path = check_path(entry.path)
        if before is not None and (path <= before or path.rpartition(b"/")[0] not in folders):
            raise InvalidInput(
                f"cannot use entry {entry.path!r}: out of order or outside a folder; make the manifest again"
            )
        if entry.kind == "dir":
            folders.add(path)
        before = path
        _check_entry(entry)
    check_links({entry.path: entry.target for entry in manifest.entries if entry.kind == "symlink"})


def _check_entry(entry: Entry) -> None:
    allowed = FOLDER_MODE_MASK if entry.kind == "dir" else FILE_MODE_MASK
    if entry.mode & ~allowed:
        raise InvalidInput(
            f"cannot use entry {entry.path!r}: mode {entry.mode:o} has bits outside {allowed:o}; clear them"
        )
    if entry.kind != "file" and (entry.size_bytes or entry.chunks):
        raise InvalidInput(f"cannot use entry {entry.path!r}: a {entry.kind} has no bytes; make the manifest again")
    if bool(entry.target) != (entry.kind == "symlink"):
        raise InvalidInput(
            f"cannot use entry {entry.path!r}: a target belongs to symlinks only; make the manifest again"
        )
    end = 0
    for chunk in entry.chunks:
        if chunk.offset < end or chunk.offset + chunk.size_bytes > entry.size_bytes:
            raise InvalidInput(
                f"cannot use entry {entry.path!r}: chunk at {chunk.offset} overlaps or passes the end; make the "
                "manifest again"
            )
        if chunk.width not in (1, 2, 4, 8):
            raise InvalidInput(
                f"cannot use entry {entry.path!r}: width {chunk.width} is not 1, 2, 4 or 8; make it again"
            )
        end = chunk.offset + chunk.size_bytes
