"""Pins: a private folder of hard links that keeps a checkpoint's files while somebody reads them.

With an owner (the job runs under another account) what is pinned must be that account's, so that no link which the job
made to somebody else's file is carried; and the account may read the pin, to resume from it.

A job prunes its own old checkpoints; a hard link keeps the bytes whatever the job removes, and costs no space.
Across file systems the bytes are copied. A file that is written in place afterwards is not protected: digests notice
that at reading time.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from heliotrope.foundation.errors import Conflict, InvalidInput, NotFound
from heliotrope.foundation.records import sync_folder

from .cutting import data_extents
from .manifest import FOLDER_MODE_MASK
from .scan import changed
from .walk import Found, identity, walk

Owner = tuple[int, int]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
# EPERM: the kernel's protected_hardlinks, or a file system without links; EMLINK: too many links to the file.
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP}
_COPY_BYTES = 8 << 20


@dataclass(frozen=True)
class Pin:
    """A pinned checkpoint: ``root`` holds the same names, modes, times and bytes as the original did."""

    name: str
    root: Path


class Pins:
    """The pins of one node, in ``folder`` (best on the file system of the jobs' checkpoints)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o711)
        folder.chmod(0o711)  # jobs pass through to their own; an older version closed it
        for half in folder.glob(".*.tmp"):
            _remove(half)

    def pin(self, name: str, checkpoint: Path, owner: Owner | None = None) -> Pin:
        """Hold ``checkpoint`` under ``name``; the same name again returns the pin that is there.

        ``owner``: (uid, gid) of the job's account, None for the agent's own. Raises InvalidInput for a bad name, things
        that cannot be carried or that are another account's; NotFound; Conflict when it changes meanwhile.
        """
        final = self._path(name)
        if not final.exists():
            half = self._folder / f".{name}.tmp"
            _remove(half)
            half.mkdir(mode=0o700)
            try:
                _mirror(checkpoint, half, owner)
                if owner is not None:
                    os.chown(half, -1, owner[1])
                    half.chmod(0o710)
                half.rename(final)
            except BaseException:
                _remove(half)
                raise
            sync_folder(self._folder)
        return self.get(name)

    def get(self, name: str) -> Pin:
        """The pin of that name. Raises NotFound."""
        inside = list(self._path(name).iterdir()) if self._path(name).is_dir() else []
        if len(inside) != 1:
            raise NotFound(f"cannot find pin {name!r}: nothing is pinned under that name; pin the checkpoint first")
        return Pin(name, inside[0])

    def names(self) -> list[str]:
        """Names of all pins, sorted."""
        return sorted(path.name for path in self._folder.iterdir() if _NAME.fullmatch(path.name))

    def unpin(self, name: str) -> None:
        """Let go; no error if it is gone already. The rename first, so that a crash leaves no half pin."""
        path = self._path(name)
        half = self._folder / f".{name}.tmp"
        _remove(half)
        if path.exists():
            path.rename(half)
            _remove(half)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"cannot use pin name {name!r}: letters, digits, '.', '_' and '-' only; rename it")
        return self._folder / name


def _remove(path: Path) -> None:
    """Remove a tree whose folders may be read-only (modes are the checkpoint's)."""
    if not path.exists():
        return
    if os.geteuid() != 0:  # root needs no modes, and its chmod could meet what a job put in the folder's place
        for folder, _, _ in os.walk(path):
            Path(folder).chmod(0o700)
    shutil.rmtree(path)


def _mirror(checkpoint: Path, pin: Path, owner: Owner | None) -> None:
    folders: list[tuple[Path, os.stat_result]] = []
    for found in walk(checkpoint):
        target = pin / checkpoint.absolute().name / os.fsdecode(found.path)
        status = found.status
        _check_owner(status, found, owner)
        if stat.S_ISDIR(status.st_mode):
            target.mkdir(mode=0o700)
            folders.append((target, status))
        elif stat.S_ISLNK(status.st_mode):
            target.symlink_to(os.fsdecode(found.link_target()))
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)
        else:
            _hold(found, target, checkpoint)
            _check_owner(target.lstat(), found, owner)  # of what was really linked
    for target, status in reversed(folders):  # contents before their folder, which is out of our hands after its chown
        target.chmod(status.st_mode & FOLDER_MODE_MASK)
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        if owner is not None:
            os.chown(target, *owner, follow_symlinks=False)


def _check_owner(status: os.stat_result, found: Found, owner: Owner | None) -> None:
    if owner is not None and status.st_uid != owner[0]:
        raise InvalidInput(
            f"cannot carry {os.fsdecode(found.path or found.name)!r}: it belongs to uid {status.st_uid}, not to the "
            f"job's account {owner[0]}; have the job write it itself"
        )


def _hold(found: Found, target: Path, checkpoint: Path) -> None:
    try:
        os.link(found.name, target, src_dir_fd=found.parent, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            if error.errno in (errno.ENOENT, errno.ELOOP):
                raise changed(checkpoint, found.path) from error
            raise Conflict(
                f"cannot pin {os.fsdecode(found.path)!r} of {checkpoint}: {error.strerror}; free or allow what it names"
            ) from error
        _copy(found, target, checkpoint)
    held = target.lstat()
    if (held.st_size, held.st_mtime_ns) != (found.status.st_size, found.status.st_mtime_ns) or target.is_symlink():
        raise changed(checkpoint, found.path)


def _copy(found: Found, target: Path, checkpoint: Path) -> None:
    """Copy a file with its holes, mode and time; Conflict if it changes meanwhile."""
    try:
        source = found.open()
    except OSError as error:
        raise changed(checkpoint, found.path) from error
    try:
        status = os.fstat(source)
        copy = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.ftruncate(copy, status.st_size)
            for start, end in data_extents(source, status.st_size):
                while start < end:
                    data = os.pread(source, min(_COPY_BYTES, end - start), start)
                    if not data:
                        raise changed(checkpoint, found.path)
                    os.pwrite(copy, data, start)
                    start += len(data)  # noqa: PLW2901
            if os.geteuid() == 0:
                os.fchown(copy, status.st_uid, status.st_gid)
            os.fchmod(copy, stat.S_IMODE(status.st_mode))
            os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
            os.fsync(copy)
        finally:
            os.close(copy)
        if identity(os.fstat(source)) != identity(found.status):
            raise changed(checkpoint, found.path)
    finally:
        os.close(source)
