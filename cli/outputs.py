"""A job's outputs on their way out: unpacked beside their place, then put there file by file, each whole."""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from heliotrope.foundation.errors import Conflict, Corrupt, HeliotropeError, InvalidInput, OutOfSpace


def unpack(pieces: Iterable[bytes], folder: Path, *, force: bool) -> list[str]:
    """Put the archive's files into ``folder`` (made if need be); their names, sorted.

    Nothing is put there before the whole archive came. Raises Conflict when a file is there already (unless ``force``),
    InvalidInput for a member that would leave the folder, Corrupt for a damaged archive, OutOfSpace.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".heliotrope-fetch-", dir=folder))
    except OSError as error:
        raise InvalidInput(f"cannot write to {folder}: {error.strerror}; choose another --out") from error
    try:
        _extract(pieces, staging)
        names = sorted(_leaves(staging))
        for name in names:
            _check_place(staging / name, folder, name, force=force)
        for name in names:
            _put(staging / name, folder / name)
        return names
    except tarfile.FilterError as error:
        raise InvalidInput(f"cannot unpack the outputs: {error}; fetch other paths") from error
    except tarfile.TarError as error:
        raise Corrupt(f"cannot unpack the outputs: {error}; fetch them again") from error
    except OSError as error:
        kind = OutOfSpace if error.errno in (errno.ENOSPC, errno.EDQUOT) else HeliotropeError
        raise kind(f"cannot write the outputs to {folder}: {error.strerror}; choose another --out") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


class _Stream(io.BufferedIOBase):
    """Pieces of any size as the file that tarfile reads from."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = bytearray()

    def read(self, size_bytes: int | None = -1, /) -> bytes:
        if size_bytes is None or size_bytes < 0:
            size_bytes = sys.maxsize
        while len(self._rest) < size_bytes and (piece := next(self._pieces, None)) is not None:
            self._rest += piece
        data = bytes(self._rest[:size_bytes])
        del self._rest[:size_bytes]
        return data

    def drain(self) -> None:
        """To the stream's end, where an error that cut it short would come out."""
        for _ in self._pieces:
            pass


def _extract(pieces: Iterable[bytes], staging: Path) -> None:
    stream = _Stream(pieces)
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            tar.extract(member, staging, filter="data")
    stream.drain()


def _leaves(staging: Path) -> Iterator[str]:
    """Files and links below, and folders without any: what is put in place one by one."""
    for here, folders, files in os.walk(staging):
        inside = Path(here)
        links = [name for name in folders if (inside / name).is_symlink()]
        for name in (*files, *links):
            yield (inside / name).relative_to(staging).as_posix()
        if not folders and not files and inside != staging:
            yield inside.relative_to(staging).as_posix()


def _put(staged: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if not _is_folder(staged):
        staged.replace(place)
    elif not place.exists():
        staged.rename(place)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _check_place(staged: Path, folder: Path, name: str, *, force: bool) -> None:
    """A link that stands in the way must not lead the file elsewhere; nothing of the person's is overwritten."""
    for parent in PurePosixPath(name).parents:
        place = folder / parent
        if parent != PurePosixPath(".") and (place.is_symlink() or (place.exists() and not place.is_dir())):
            raise Conflict(f"cannot write {folder / name}: {place} is there and no folder; choose another --out")
    place = folder / name
    if not os.path.lexists(place) or (_is_folder(staged) and _is_folder(place)):
        return
    if _is_folder(staged) or _is_folder(place):
        raise Conflict(f"cannot write {place}: one of the two is a folder; choose another --out")
    if not force:
        raise Conflict(f"cannot write {place}: it exists; use --force to replace it, or choose another --out")
