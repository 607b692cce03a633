# The supervisor starts in milliseconds, so no pathlib here.
# ruff: noqa: PTH105, PTH110, PTH116
"""A job's output: pipe to file, its size bounded, every gap marked (standard library only)."""

from __future__ import annotations

import os

from .loop import Loop

_READ_BYTES = 64 * 1024


class OutputLog:
    """Copies one pipe of the job into ``path``, appending; past half the limit the file becomes ``path.1``.

    So at least half of ``limit_bytes`` of the newest output is there, and never more than the limit. A full disk
    loses output, never the job: what was lost is counted and said as soon as writing works again.
    """

    def __init__(self, loop: Loop, path: str, limit_bytes: int) -> None:
        self.path = path
        self._half_bytes = max(4096, limit_bytes // 2)
        self._lost_bytes = 0
        self._loop = loop
        self._open()
        self._pipe, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._pipe, False)
        loop.watch(self._pipe, self._on_readable)

    def started(self) -> None:
        """The job holds its end now; give up ours, so that its end is seen."""
        os.close(self.write_end)

    def drain(self) -> None:
        """Copy what is left in the pipe."""
        while self._copy():
            pass

    def close(self) -> None:
        """The job is gone: copy the rest and make it last."""
        self.drain()
        self._loop.forget(self._pipe)
        os.close(self._pipe)
        os.fsync(self._file)
        os.close(self._file)

    def _open(self) -> None:
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size_bytes = os.fstat(self._file).st_size

    def _on_readable(self) -> None:
        self._copy()

    def _copy(self) -> bool:
        try:
            data = os.read(self._pipe, min(_READ_BYTES, self._half_bytes))
        except BlockingIOError:
            return False
        if not data:  # every writer has closed its end
            self._loop.forget(self._pipe)
            return False
        if self._size_bytes + len(data) > self._half_bytes and self._size_bytes:
            self._rotate()
        self._write(data)
        return True

    def _rotate(self) -> None:
        removed_bytes = os.stat(self.path + ".1").st_size if os.path.exists(self.path + ".1") else 0
        os.replace(self.path, self.path + ".1")
        os.close(self._file)
        self._open()
        if removed_bytes:
            self._write(b"[heliotrope: %d bytes of older output were removed here]\n" % removed_bytes)

    def _write(self, data: bytes) -> None:
        mark = b""
        if self._lost_bytes:
            mark = b"\n[heliotrope: %d bytes of output were lost here, the disk was full]\n" % self._lost_bytes
        try:
            written = os.write(self._file, mark + data)
        except OSError:
            self._lost_bytes += len(data)
            return
        self._size_bytes += written
        self._lost_bytes = len(mark) + len(data) - written
