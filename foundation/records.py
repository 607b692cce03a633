"""Durable small files: whole or absent, never half.

A rename makes a file whole, fsync of the file and of its folder makes it last: both are needed, in this order.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from .errors import Corrupt

T = TypeVar("T")

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)  # of an OSError: the disk or its quota is full


def write_durably(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace ``path`` by ``data`` so that a crash at any point leaves the old or the new content."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries last (a renamed file is only on disk once its folder is)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Make a file's content last."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def save(path: Path, record: Any) -> None:
    """Write a msgspec structure as JSON, durably."""
    write_durably(path, msgspec.json.encode(record))


def load(path: Path, kind: type[T]) -> T:
    """Read what :func:`save` wrote. Raises FileNotFoundError, or Corrupt naming the file and the field."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # msgspec lets some bad UTF-8 through to the codec
        raise Corrupt(f"cannot read {path}: {error}; restore it from a backup or remove it") from error
