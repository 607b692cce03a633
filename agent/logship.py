"""Runs' outputs to the coordinator, each stream from the position that the coordinator has acknowledged.

Nothing is buffered here: the log files are the buffer, and a piece that was not acknowledged is simply read again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from heliotrope.foundation.model import LogPiece, LogStream

from .jobs import runfolder
from .jobs.runs import Run

PIECE_BYTES = 128 * 1024
# Pieces that may be on their way per stream: enough for a fast link, little enough to read again after a cut.
PIECES_IN_FLIGHT = 4

_FILES = {LogStream.STDOUT: runfolder.STDOUT, LogStream.STDERR: runfolder.STDERR}

Key = tuple[str, int, int, LogStream]


class LogShipper:
    """Cuts new output of runs into pieces; pure bookkeeping around the files."""

    def __init__(self) -> None:
        self._acknowledged: dict[Key, int] = {}
        self._sent: dict[Key, int] = {}

    def restart(self) -> None:
        """A new session: what was sent and not acknowledged is sent again."""
        self._sent = dict(self._acknowledged)

    def acknowledge(self, key: Key, position_bytes: int) -> None:
        """The coordinator keeps everything before ``position_bytes``; it may know more than we do (we restarted)."""
        self._acknowledged[key] = position_bytes
        self._sent[key] = max(self._sent.get(key, 0), position_bytes)

    def pieces(self, run: Run) -> Iterator[LogPiece]:
        """What can be sent now."""
        request = run.request
        for stream, name in _FILES.items():
            key = (request.job_id, request.epoch, request.attempt, stream)
            limit = self._acknowledged.get(key, 0) + PIECES_IN_FLIGHT * PIECE_BYTES
            position = self._sent.get(key, 0)
            while position < limit and (data := _read(run.folder, name, position)):
                yield LogPiece(
                    job_id=request.job_id,
                    epoch=request.epoch,
                    attempt=request.attempt,
                    stream=stream,
                    offset=position,
                    data=data,
                )
                position += len(data)
                self._sent[key] = position


def _size_bytes(path: Path) -> int:
    """0 where there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 - half the time of Path.stat
    except FileNotFoundError:
        return 0


def _read(folder: Path, name: str, position: int) -> bytes:
    """Bytes from ``position`` of the run's output, of which the file may hold only the part since its last rotation."""
    path, older = folder / name, folder / f"{name}.1"
    rotated = _size_bytes(older)
    if position >= rotated + _size_bytes(path):
        return b""  # the usual case, several times a second for every job
    try:
        if position < rotated:
            with older.open("rb") as file:
                file.seek(position)
                return file.read(min(PIECE_BYTES, rotated - position))
        with path.open("rb") as file:
            file.seek(position - rotated)
            return file.read(PIECE_BYTES)
    except FileNotFoundError:
        return b""
