"""A job's outputs as a tar archive, streamed: nothing is gathered in memory or on disk."""

from __future__ import annotations

import asyncio
import os
import tarfile
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from heliotrope.foundation.errors import InvalidInput, NotFound

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


def _matches(work: Path, paths: Sequence[str]) -> list[Path]:
    if not paths:
        raise InvalidInput("field outputs: the job file names none; name the paths to fetch")
    root = work.resolve()
    found: list[Path] = []
    for path in paths:
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise InvalidInput(f"field paths: {path!r} leaves the job's folder; name a path inside it")
        matches = sorted(work.glob(path))
        if not matches:
            raise NotFound(f"cannot fetch {path!r}: the job has not written it (yet); see `heliotrope job logs`")
        for match in matches:
            if not match.resolve().is_relative_to(root):
                raise InvalidInput(
                    f"field paths: {path!r} is a link out of the job's folder; fetch what it points to there"
                )
            found.append(match)
    return found


def _write(work: Path, files: Sequence[Path], writing: int, failure: list[BaseException]) -> None:
    try:
        with os.fdopen(writing, "wb") as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
            for path in files:
                tar.add(path, arcname=str(path.relative_to(work)))
    except BrokenPipeError:
        return  # the reader has left
    except OSError as error:
        failure.append(error)
