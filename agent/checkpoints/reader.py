"""Read a checkpoint's chunks back from its files, each checked against the manifest's digest."""

from __future__ import annotations

import os
from pathlib import Path

from blake3 import blake3

from heliotrope.foundation.errors import Corrupt, NotFound

from . import uncached
from .manifest import Chunk, Entry, Manifest, digest
from .names import unescape
from .walk import open_inside


class CheckpointReader:
    """The chunks of one checkpoint in place. Safe to use from several threads; holds no file open between reads."""

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self.root = root
        self.manifest = manifest
        self.digest = digest(manifest)
        self.places = manifest.places()

    def read_into(self, index: int, buffer: memoryview) -> None:
        """Fill ``buffer`` (exactly the chunk's size) with chunk ``index``.

        Raises NotFound or Corrupt naming the file when it is gone or no longer what the manifest says.
        """
        entry, chunk = self.places[index]
        read_chunk(self.root, entry, chunk, buffer)

    def close(self) -> None:
        """Nothing stays open; here so that every source can be closed."""


def read_chunk(root: Path, entry: Entry, chunk: Chunk, buffer: memoryview) -> None:
    """Fill ``buffer`` with the chunk's bytes. Raises NotFound, Corrupt naming the file and offset."""
    try:
        handle = open_inside(root, unescape(entry.path))  # the tree may be the job's, to change at any moment
    except OSError as error:
        raise NotFound(
            f"cannot read {entry.path or root.name!r} of checkpoint {root}: {error.strerror}; take a new checkpoint"
        ) from error
    try:
        got = 0
        while got < len(buffer) and (count := uncached.read(handle, buffer[got:], chunk.offset + got)):
            got += count
    except OSError as error:
        raise Corrupt(
            f"cannot read {entry.path or root.name!r} of checkpoint {root}: the {chunk.size_bytes} bytes at "
            f"{chunk.offset}: {error.strerror}; check the disk and take a new checkpoint"
        ) from error
    finally:
        os.close(handle)
    if got != chunk.size_bytes or blake3(buffer).digest() != chunk.digest:
        raise Corrupt(
            f"cannot read {entry.path or root.name!r} of checkpoint {root}: the {chunk.size_bytes} bytes at "
            f"{chunk.offset} "
            "are not those of its manifest; the file was changed after it was read or is damaged: take a new checkpoint"
        )
