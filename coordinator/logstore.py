"""Jobs' outputs, kept at the coordinator so that they follow the job over its nodes.

One file per run and stream, ``logs/JOB/EPOCH-ATTEMPT.STREAM``, appended at the offset that the agent names; a piece
that is there already changes nothing, a gap is refused (the agent sends from the position it is told).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from heliotrope.foundation.model import LogPiece, LogStream

CUT = b"\n[heliotrope: the job's log limit is reached; later output is kept on its node only]\n"


@dataclass(frozen=True)
class RunLog:
    """One of a run's two outputs."""

    epoch: int
    attempt: int
    stream: LogStream
    path: Path


class LogStore:
    """Files of output under one folder, bounded per job."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._positions: dict[tuple[str, int, int, LogStream], int] = {}

    def append(self, piece: LogPiece) -> int:
        """Keep a piece; the position up to which its stream is taken."""
        key = (piece.job_id, piece.epoch, piece.attempt, piece.stream)
        path = self._path(*key)
        position = self.position(*key)
        if piece.offset > position or piece.offset + len(piece.data) <= position:
            return position
        data = piece.data[position - piece.offset :]
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        room = self._limit_bytes - self._size(piece.job_id)
        if room > 0:
            with path.open("ab") as file:
                file.write(data if len(data) <= room else data[:room] + CUT)
        # Beyond the limit the position goes on without the bytes; a restart asks for them again and drops them again.
        self._positions[key] = position + len(data)
        return position + len(data)

    def position(self, job_id: str, epoch: int, attempt: int, stream: LogStream) -> int:
        key = (job_id, epoch, attempt, stream)
        if key not in self._positions:
            path = self._path(*key)
            self._positions[key] = path.stat().st_size if path.exists() else 0
        return self._positions[key]

    def runs(self, job_id: str) -> list[RunLog]:
        """Oldest first."""
        folder = self._folder / job_id
        found = []
        for path in folder.iterdir() if folder.is_dir() else ():
            epoch, _, attempt = path.stem.partition("-")
            found.append(RunLog(int(epoch), int(attempt), LogStream(path.suffix[1:].upper()), path))
        return sorted(found, key=lambda run: (run.epoch, run.attempt, run.stream))

    @staticmethod
    def read(run: RunLog, position: int, piece_bytes: int = 256 * 1024) -> Iterator[bytes]:
        """The run's output from ``position`` to its present end."""
        with run.path.open("rb") as file:
            file.seek(position)
            while piece := file.read(piece_bytes):
                yield piece

    def _size(self, job_id: str) -> int:
        return sum(run.path.stat().st_size for run in self.runs(job_id))

    def _path(self, job_id: str, epoch: int, attempt: int, stream: LogStream) -> Path:
        return self._folder / job_id / f"{epoch:08d}-{attempt:04d}.{stream.lower()}"
