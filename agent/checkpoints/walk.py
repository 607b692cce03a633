"""Walk a checkpoint without ever following a symlink.

The agent may be root while the folder belongs to a job's user, who could swap a folder for a link between two system
calls. So every step is taken relative to an open folder, with O_NOFOLLOW: what is listed is what is read.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from heliotrope.foundation.errors import InvalidInput, NotFound

from .names import escape

DEPTH_LIMIT = 128
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_REFUSED = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True)
class Found:
    """One thing in a checkpoint. ``path``: relative bytes, empty for the root; ``parent``: open folder that holds
    ``name``.

    ``parent`` is open only until the walk goes on.
    """

    path: bytes
    status: os.stat_result
    parent: int
    name: bytes

    def open(self) -> int:
        """Open the file for reading; the caller closes. Raises OSError (ELOOP if it became a symlink)."""
        return os.open(self.name, _FILE, dir_fd=self.parent)

    def link_target(self) -> bytes:
        """Where the symlink points, as stored."""
        return os.readlink(self.name, dir_fd=self.parent)


def open_inside(root: Path, path: bytes, *, is_folder: bool = False) -> int:
    """Open what lies at ``path`` (relative, empty for the root) for reading; no step follows a symlink.

    A path that is opened in one go follows whatever its folders have become meanwhile. The caller closes. Raises
    OSError (ELOOP or ENOTDIR where a symlink stands, EISDIR or ENXIO for what is no regular file).
    """
    parts = [part for part in path.split(b"/") if part]
    here = os.open(root, _FOLDER if parts or is_folder else _FILE)
    for depth, part in enumerate(parts, 1):
        flags = _FOLDER if depth < len(parts) or is_folder else _FILE
        try:
            inner = os.open(part, flags, dir_fd=here)
        finally:
            os.close(here)
        here = inner
    if not is_folder and not stat.S_ISREG(os.fstat(here).st_mode):
        os.close(here)
        raise OSError(errno.ENXIO, "not a regular file")
    return here


def walk(root: Path) -> Iterator[Found]:
    """The root, then everything below it; folders before their contents, names in byte order.

    Raises NotFound without a root, InvalidInput naming what cannot be carried (pipes, sockets, devices, a root that
    is a symlink).
    """
    full = root.absolute()
    try:
        parent = os.open(full.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound(f"cannot read checkpoint {root}: {error.strerror}; is the path right?") from error
    try:
        name = os.fsencode(full.name)
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            raise NotFound(f"cannot read checkpoint {root}: {error.strerror}; is the path right?") from error
        if stat.S_ISLNK(status.st_mode):
            raise InvalidInput(f"cannot read checkpoint {root}: it is a symlink; give the path it points to")
        yield from _visit(Found(b"", status, parent, name), 0)
    finally:
        os.close(parent)


def _visit(found: Found, depth: int) -> Iterator[Found]:
    refused = _REFUSED.get(stat.S_IFMT(found.status.st_mode))
    if refused:
        raise InvalidInput(
            f"cannot carry {escape(found.path) or escape(found.name)!r}: it is {refused}; keep it out of the checkpoint"
        )
    if depth > DEPTH_LIMIT:
        raise InvalidInput(f"cannot carry {escape(found.path)!r}: more than {DEPTH_LIMIT} folders deep; flatten it")
    yield found
    if not stat.S_ISDIR(found.status.st_mode):
        return
    folder = os.open(found.name, _FOLDER, dir_fd=found.parent)
    try:
        with os.scandir(folder) as listed:
            names = sorted(os.fsencode(item.name) for item in listed)
        for name in names:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            path = found.path + b"/" + name if found.path else name
            yield from _visit(Found(path, status, folder, name), depth + 1)
    finally:
        os.close(folder)


def identity(status: os.stat_result) -> tuple[int, int, int, int]:
    """What changes when somebody writes a file: device, inode, size and modification time."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
