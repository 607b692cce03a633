"""A job's files: fetched, checked against their digest, and unpacked so that nothing leaves the job's folder.

The archive comes from outside and may try anything. The standard library's extraction filters had holes (links that
grow while they are resolved, sizes below zero), so only its reading of headers is used. Files and folders are made
relative to open folders, never through a link; links come last, and only those that stay inside; nobody but the agent
can enter the folder before all of it is there.
"""

from __future__ import annotations

import errno
import os
import shutil
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from blake3 import blake3

from heliotrope.foundation import records
from heliotrope.foundation.errors import Corrupt, InvalidInput, OutOfSpace

from .checkpoints import names

Owner = tuple[int, int]

MEMBERS_LIMIT = 1_000_000  # inodes are as finite as bytes
DEPTH_LIMIT = 128
PIECE_BYTES = 1 << 20  # also the most that one header (a long name, extended attributes) may make us hold
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


async def fetch(pieces: AsyncIterator[bytes], digest: bytes, size_bytes: int, target: Path) -> None:
    """Write the archive to ``target``, whole or not at all. Raises Corrupt when it is not what was announced."""
    part = target.with_suffix(".part")
    seen, received_bytes = blake3(), 0
    try:
        with part.open("wb") as file:
            async for piece in pieces:
                received_bytes += len(piece)
                if received_bytes > size_bytes:
                    break
                seen.update(piece)
                file.write(piece)
        if received_bytes != size_bytes or seen.digest() != digest:
            raise Corrupt(
                f"cannot take the job's files: {received_bytes} of {size_bytes} bytes came, digest "
                f"{seen.hexdigest()[:16]} instead of {digest.hex()[:16]}; it is fetched again with the next attempt"
            )
        records.sync_file(part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def unpack(archive: Path, folder: Path, owner: Owner | None = None) -> None:
    """Unpack into ``folder`` (which must not exist), whole by rename; ``owner``: (uid, gid) of the job's user.

    The folder is closed to everybody but its owner. Raises InvalidInput naming the member for anything but plain files,
    folders and links that stay inside, OutOfSpace.
    """
    making = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True, mode=0o700)
    try:
        with archive.open("rb") as file:
            _Unpacking(making, owner).run(file)
    except BaseException as error:
        shutil.rmtree(making, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfSpace(
                f"cannot unpack the job's files: {error.strerror} at {folder.parent}; free some"
            ) from error
        raise
    making.rename(folder)
    records.sync_folder(folder.parent)


class _Bounded:
    """The archive as tarfile reads it: a header that announces gigabytes does not get them."""

    def __init__(self, file: IO[bytes]) -> None:
        self.tell = file.tell
        self.seek = file.seek
        self._file = file

    def read(self, size: int) -> bytes:
        if not 0 <= size <= PIECE_BYTES:
            raise InvalidInput(f"field files: a header of the archive is {size} bytes long; pack the files again")
        return self._file.read(size)


class _Unpacking:
    """One archive into one empty folder that only the agent can enter."""

    def __init__(self, root: Path, owner: Owner | None) -> None:
        self._root = root
        self._owner = owner
        self._folders: set[tuple[bytes, ...]] = set()
        self._links: dict[tuple[bytes, ...], bytes] = {}

    def run(self, file: IO[bytes]) -> None:
        """Everything, owners last and from the inside out: what is handed over is not touched by path again."""
        try:
            with tarfile.open(fileobj=_Bounded(file), mode="r:") as tar:  # type: ignore[call-overload]
                count = 0
                while (member := tar.next()) is not None:
                    tar.members.clear()  # else a kilobyte stays for every one of them
                    count += 1
                    if count > MEMBERS_LIMIT:
                        raise InvalidInput(f"field files: more than {MEMBERS_LIMIT} entries; pack small files together")
                    self._take(tar, member)
        except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidInput(f"field files: not a tar archive that can be read: {error}; pack it again") from error
        self._link()
        self._hand_over()

    def _take(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = _parts(member.name)
        if member.size < 0 or member.issparse():
            raise InvalidInput(f"field files: {member.name!r} has a size of its own making; pack it as a plain file")
        if member.isdir():
            os.close(self._folder(parts))
        elif not parts:
            raise InvalidInput(f"field files: {member.name!r} is the folder itself; leave it out")
        elif member.issym():
            self._links[parts] = os.fsencode(member.linkname)
        elif member.isreg():
            self._file(tar, member, parts)
        else:
            raise InvalidInput(f"field files: {member.name!r} is no file, folder or link; leave it out")

    def _file(self, tar: tarfile.TarFile, member: tarfile.TarInfo, parts: tuple[bytes, ...]) -> None:
        source = tar.extractfile(member)
        assert source is not None
        parent = self._folder(parts[:-1])
        try:
            handle = os.open(parts[-1], _NEW_FILE, 0o600, dir_fd=parent)
        except OSError as error:
            raise InvalidInput(f"field files: cannot make {member.name!r}: {error.strerror}; name it once") from error
        finally:
            os.close(parent)
        with os.fdopen(handle, "wb") as file:
            left_bytes = member.size
            while left_bytes and (piece := source.read(min(left_bytes, PIECE_BYTES))):
                file.write(piece)
                left_bytes -= len(piece)
            if left_bytes:
                raise InvalidInput(f"field files: {member.name!r} ends {left_bytes} bytes early; pack it again")
            if self._owner is not None:
                os.fchown(handle, *self._owner)
            os.fchmod(handle, 0o755 if member.mode & 0o100 else 0o644)  # set-user-id and the like never come along

    def _folder(self, parts: tuple[bytes, ...]) -> int:
        """An open folder, made where it is missing; no step follows a link."""
        here = os.open(self._root, _FOLDER)
        for depth, part in enumerate(parts, 1):
            try:
                if parts[:depth] not in self._folders:
                    os.mkdir(part, 0o755, dir_fd=here)
                    self._folders.add(parts[:depth])
                inner = os.open(part, _FOLDER, dir_fd=here)
            except OSError as error:
                name = os.fsdecode(b"/".join(parts[:depth]))
                raise InvalidInput(
                    f"field files: cannot make folder {name!r}: {error.strerror}; name it once"
                ) from error
            finally:
                os.close(here)
            here = inner
        return here

    def _link(self) -> None:
        escaped = {names.escape(b"/".join(parts)): names.escape(target) for parts, target in self._links.items()}
        try:
            names.check_links(escaped)
        except InvalidInput as error:
            raise InvalidInput(f"field files: {error}") from error
        for parts, target in self._links.items():
            parent = self._folder(parts[:-1])
            try:
                os.symlink(target, parts[-1], dir_fd=parent)
                if self._owner is not None:
                    os.chown(parts[-1], *self._owner, dir_fd=parent, follow_symlinks=False)
            except OSError as error:
                name = os.fsdecode(b"/".join(parts))
                raise InvalidInput(f"field files: cannot make link {name!r}: {error.strerror}; name it once") from error
            finally:
                os.close(parent)

    def _hand_over(self) -> None:
        for parts in (*sorted(self._folders, key=len, reverse=True), ()):
            folder = self._folder(parts)
            try:
                if self._owner is not None:
                    os.fchown(folder, *self._owner)
            finally:
                os.close(folder)


def _parts(name: str) -> tuple[bytes, ...]:
    """The path's components, bare; none for the folder itself. Raises InvalidInput for one that leads elsewhere."""
    parts = tuple(part for part in os.fsencode(name).split(b"/") if part not in (b"", b"."))
    if name.startswith("/") or b".." in parts or any(b"\0" in part for part in parts):
        raise InvalidInput(f"field files: {name[:200]!r} leads outside the job's folder; use plain relative names")
    if len(parts) > DEPTH_LIMIT or len(b"/".join(parts)) > names.PATH_BYTES_LIMIT:
        raise InvalidInput(f"field files: {name[:80]!r}... is too long or too deep; shorten it")
    if any(len(part) > names.NAME_BYTES_LIMIT for part in parts):
        raise InvalidInput(f"field files: {name[:80]!r}... is longer than a file's name may be; shorten it")
    return parts
