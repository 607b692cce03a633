"""The folder a checkpoint grows in beside its final place, and the journal that lets a cut transfer go on.

    .NAME.partial/manifest   what is being fetched
    .NAME.partial/journal    4-byte indices of chunks that were verified and written
    .NAME.partial/tree       the file or folder itself, renamed to NAME at the end

The journal is a hint: after a crash its chunks are read back and checked before they count, so no write order is
needed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import struct
import threading
from pathlib import Path

import psutil

from heliotrope.agent.checkpoints import manifest as manifests
from heliotrope.agent.checkpoints.manifest import Manifest
from heliotrope.agent.checkpoints.restore import Owner, lay_out, seal, sync_file, write_chunk
from heliotrope.agent.checkpoints.scan import entry_path
from heliotrope.foundation import failpoints
from heliotrope.foundation.errors import Conflict, HeliotropeError, InvalidInput, OutOfSpace
from heliotrope.foundation.records import sync_folder, write_durably

UNSYNCED_BYTES = 64 << 20  # after a power cut at most this much, and what is in flight, is fetched again
CACHED_RATIO = 0.25  # of the memory that is free or can be freed: a larger checkpoint goes past the page cache
_INDEX = struct.Struct(">I")
failpoints.register("transfer.partial.created", "transfer.chunk.journaled", "transfer.sealed", "transfer.renamed")


class Partial:
    """One growing checkpoint; locked, so that one transfer at a time writes it. Safe to use from several threads."""

    def __init__(self, destination: Path, manifest: Manifest) -> None:
        """Open or begin it. Raises Conflict when another transfer holds it, OutOfSpace, InvalidInput for an unusable
        place.
        """
        self.destination = destination
        self.folder = folder_of(destination)
        self.tree = self.folder / "tree"
        self._manifest = manifest
        self._places = manifest.places()
        self._lock = threading.Lock()
        self._unsynced_bytes = 0
        self._unsynced: set[Path] = set()
        # What fits is there for the job that starts from it; what does not would only push other files out.
        self._cached = manifest.data_bytes <= psutil.virtual_memory().available * CACHED_RATIO
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            self._journal = self._locked()
            self._begin()
        except OSError as error:
            raise disk_error(error, destination) from error

    def journaled(self) -> list[int]:
        """Chunks that an earlier attempt wrote, to be checked before they count."""
        data = os.pread(self._journal, _INDEX.size * len(self._places), 0)
        whole = data[: len(data) // _INDEX.size * _INDEX.size]
        return sorted({index for (index,) in _INDEX.iter_unpack(whole) if index < len(self._places)})

    def held_bytes(self) -> int:
        """Disk space that the tree has already."""
        found = (entry_path(self.tree, entry) for entry in self._manifest.entries if entry.kind == "file")
        return sum(path.stat().st_blocks * 512 for path in found)

    def write(self, index: int, data: memoryview) -> None:
        """Put a verified chunk at its place. Raises OutOfSpace, InvalidInput."""
        entry, chunk = self._places[index]
        try:
            write_chunk(self.tree, entry, chunk, data, cached=self._cached)
            self._sync(entry_path(self.tree, entry), chunk.size_bytes)
        except OSError as error:
            raise disk_error(error, self.destination) from error

    def note(self, index: int) -> None:
        """Remember that the chunk is verified and written."""
        try:
            os.write(self._journal, _INDEX.pack(index))  # O_APPEND: whole, whoever else writes
        except OSError as error:
            raise disk_error(error, self.destination) from error
        failpoints.hit("transfer.chunk.journaled")

    def seal(self, owner: Owner | None) -> None:
        """Links, modes, times and everything on disk."""
        try:
            seal(self.tree, self._manifest, owner)
        except OSError as error:
            raise disk_error(error, self.destination) from error
        failpoints.hit("transfer.sealed")

    def publish(self) -> None:
        """Give the tree its final name; from here on the checkpoint exists. Raises Conflict if that name was taken
        meanwhile.
        """
        try:
            if self.destination.is_symlink() or self.destination.exists():
                raise Conflict(
                    f"cannot finish {self.destination}: the name was taken meanwhile; remove it and move again"
                )
            self.tree.rename(self.destination)
            failpoints.hit("transfer.renamed")
            sync_folder(self.destination.parent)
        except OSError as error:
            raise disk_error(error, self.destination) from error
        self.discard()

    def discard(self) -> None:
        """Remove what was fetched so far."""
        remove_partial(self.destination)
        self.close()

    def close(self) -> None:
        """Let go of the lock; the folder stays for the next attempt."""
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1

    def _locked(self) -> int:
        handle = os.open(self.folder / "journal", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise Conflict(f"cannot fetch {self.destination}: another transfer writes it; wait for that one") from error
        return handle

    def _begin(self) -> None:
        """Go on with the same manifest, or clear what another one left."""
        record = self.folder / "manifest"
        data = manifests.encode(self._manifest)
        if not record.exists() or record.read_bytes() != data:
            record.unlink(missing_ok=True)
            os.ftruncate(self._journal, 0)
            if self.tree.is_dir():
                _open_folders(self.tree)
                shutil.rmtree(self.tree)
            self.tree.unlink(missing_ok=True)
        else:
            _open_folders(self.tree)  # an attempt may have sealed the tree before it was killed
        lay_out(self.tree, self._manifest)
        write_durably(record, data)
        failpoints.hit("transfer.partial.created")

    def _sync(self, path: Path, size_bytes: int) -> None:
        """Every so often the thread that wrote last has all of it written out: the end must not wait for gigabytes."""
        with self._lock:
            self._unsynced.add(path)
            self._unsynced_bytes += size_bytes
            if self._unsynced_bytes < UNSYNCED_BYTES:
                return
            paths, self._unsynced, self._unsynced_bytes = self._unsynced, set(), 0
        for each in paths:
            sync_file(each)


def folder_of(destination: Path) -> Path:
    """Where the partial checkpoint of ``destination`` grows."""
    return destination.with_name(f".{destination.name}.partial")


def remove_partial(destination: Path) -> None:
    """Remove what an attempt left beside ``destination``; no error if there is nothing."""
    folder = folder_of(destination)
    with contextlib.suppress(OSError):
        _open_folders(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _open_folders(tree: Path) -> None:
    for folder, _, _ in os.walk(tree):
        Path(folder).chmod(0o700)


def disk_error(error: OSError, destination: Path) -> HeliotropeError:
    """What an OSError at the destination means to a person."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return OutOfSpace(f"cannot write {destination}: {error.strerror}; free the disk or choose another node")
    return InvalidInput(f"cannot write {destination}: {error}; check the folder's path and rights")
