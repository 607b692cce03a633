"""A job's outputs as a tar archive, streamed: nothing is gathered in memory or on disk."""

from __future__ import annotations

import asyncio
import os
import stat
import tarfile
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path, PurePosixPath

from heliotrope.foundation import safenames
from heliotrope.foundation.errors import HeliotropeError, InvalidInput, NotFound

from .checkpoints.walk import Found, identity, open_inside, walk

PIECE_BYTES = 512 * 1024


async def archive(work: Path, paths: Sequence[str]) -> AsyncIterator[bytes]:
    """Pieces of a tar of ``paths`` (relative to ``work``; globs allowed).

    Raises NotFound naming a path that matches nothing, InvalidInput for one that leaves the job's folder.
    """
    files = _matches(work, paths)
    reading, writing = os.pipe()
    failure: list[BaseException] = []
    worker = threading.Thread(target=_write, args=(work, files, writing, failure), name="outputs", daemon=True)
    worker.start()
    try:
        with os.fdopen(reading, "rb", buffering=0) as stream:
            while piece := await asyncio.to_thread(stream.read, PIECE_BYTES):
                yield piece
    finally:
        await asyncio.to_thread(worker.join)
    if failure:
        raise failure[0]


def matches(work: Path, pattern: str) -> list[Path]:
    """What a pattern stands for now, sorted. Raises InvalidInput for one that leaves the job's folder."""
    if fault := safenames.pattern_fault(pattern):
        raise InvalidInput(f"field paths: {pattern!r} {fault}")
    # "." is all there is; a pattern of nothing but dots is none to glob.
    return sorted(work.glob(pattern) if PurePosixPath(pattern).parts else work.iterdir())


def _matches(work: Path, paths: Sequence[str]) -> list[Path]:
    if not paths:
        raise InvalidInput("field outputs: the job file names none; name the paths to fetch")
    root = work.resolve()
    found: list[Path] = []
    for path in paths:
        matching = matches(work, path)
        if not matching:
            raise NotFound(f"cannot fetch {path!r}: the job has not written it (yet); see `heliotrope job logs`")
        for match in matching:
            if not match.resolve().is_relative_to(root):
                raise InvalidInput(
                    f"field paths: {path!r} is a link out of the job's folder; fetch what it points to there"
                )
            found.append(match)
    return found


def _write(work: Path, files: Sequence[Path], writing: int, failure: list[BaseException]) -> None:
    """The job may still run and turn any folder into a link: every step is relative to an open one."""
    uid = work.lstat().st_uid
    try:
        with os.fdopen(writing, "wb") as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
            for path in files:
                name = path.relative_to(work)
                parent = open_inside(work, os.fsencode(name.parent), is_folder=True)
                try:
                    for found in walk(Path(f"/proc/self/fd/{parent}") / name.name):
                        _add(tar, found, str(name / os.fsdecode(found.path)), uid)
                finally:
                    os.close(parent)
    except BrokenPipeError:
        return  # the reader has left
    except (OSError, HeliotropeError) as error:
        failure.append(error)


def _add(tar: tarfile.TarFile, found: Found, name: str, uid: int) -> None:
    """One member. Raises InvalidInput for another account's file: the job may have made a link to it."""
    if found.status.st_uid != uid:
        raise InvalidInput(f"field paths: {name!r} belongs to uid {found.status.st_uid}, not to the job; leave it out")
    member = tarfile.TarInfo(name)
    member.mode, member.mtime = stat.S_IMODE(found.status.st_mode) & 0o777, int(found.status.st_mtime)
    if stat.S_ISLNK(found.status.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, os.fsdecode(found.link_target())
        tar.addfile(member)
    elif stat.S_ISDIR(found.status.st_mode):
        member.type = tarfile.DIRTYPE
        tar.addfile(member)
    else:
        with os.fdopen(found.open(), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or identity(status)[:2] != identity(found.status)[:2]:
                raise InvalidInput(f"field paths: {name!r} changed while it was read; fetch it again")
            member.size = status.st_size
            tar.addfile(member, file)
