"""Jobs' files as they were uploaded: one archive per content, named by its BLAKE3 digest."""

from __future__ import annotations

import contextlib
from pathlib import Path

from blake3 import blake3

from heliotrope.foundation import records
from heliotrope.foundation.errors import Corrupt, NotFound, OutOfSpace


class BundleStore:
    """Archives under one folder; whole by rename, so a cut upload leaves nothing that looks like one."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in folder.glob("*.part"):
            left.unlink()

    def has(self, digest: bytes) -> bool:
        return self._path(digest).exists()

    def path(self, digest: bytes) -> Path:
        path = self._path(digest)
        if not path.exists():
            raise NotFound(
                f"cannot find bundle {digest.hex()[:16]}: it is gone from the coordinator; submit the job again"
            )
        return path

    def receive(self, digest: bytes, size_bytes: int, name: str) -> Upload:
        """Begin an upload. Raises OutOfSpace above the limit."""
        if size_bytes > self._limit_bytes:
            raise OutOfSpace(
                f"cannot take {name}: its files are {size_bytes} bytes, the limit bundle_limit_bytes is "
                f"{self._limit_bytes}; bring large data to the nodes by other means and name it in the command"
            )
        return Upload(self._path(digest), digest, size_bytes)

    def _path(self, digest: bytes) -> Path:
        return self._folder / f"{digest.hex()}.tar"


class Upload:
    """An upload under way; use as a context manager, so that a cut one is removed."""

    def __init__(self, path: Path, digest: bytes, size_bytes: int) -> None:
        self._final = path
        self._part = path.with_suffix(f".{id(self):x}.part")
        self._digest = digest
        self._size_bytes = size_bytes
        self._hash = blake3()
        self._received_bytes = 0

    def __enter__(self) -> Upload:
        self._file = self._part.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        with contextlib.suppress(FileNotFoundError):
            self._part.unlink()

    def write(self, data: bytes) -> None:
        """Raises Corrupt as soon as more comes than was announced."""
        self._received_bytes += len(data)
        if self._received_bytes > self._size_bytes:
            raise Corrupt(
                f"cannot take the job's files: more than the announced {self._size_bytes} bytes; submit again"
            )
        self._hash.update(data)
        self._file.write(data)

    def finish(self) -> None:
        """Check and keep it. Raises Corrupt naming what differs."""
        if self._received_bytes != self._size_bytes or self._hash.digest() != self._digest:
            raise Corrupt(
                f"cannot take the job's files: {self._received_bytes} of {self._size_bytes} bytes, digest "
                f"{self._hash.hexdigest()[:16]}, announced {self._digest.hex()[:16]}; submit again"
            )
        self._file.close()
        records.sync_file(self._part)
        self._part.replace(self._final)
        records.sync_folder(self._final.parent)
