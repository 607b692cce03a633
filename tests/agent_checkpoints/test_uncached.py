"""Reads and writes past the page cache, on a file system that may know them and on one that does not."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliotrope.agent.checkpoints import uncached

DATA = bytes(range(256)) * 5000


@pytest.fixture(params=["disk", "memory"])
def handle(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """An open file; in memory (tmpfs) the flag is refused by every kernel so far."""
    if request.param == "memory" and not os.access("/dev/shm", os.W_OK):
        pytest.skip("no /dev/shm to write to")
    folder = "/dev/shm" if request.param == "memory" else tmp_path
    with tempfile.TemporaryFile(dir=folder) as file:
        yield file.fileno()


def test_what_is_written_is_read(handle: int) -> None:
    assert uncached.write(handle, memoryview(DATA), 3) == len(DATA)
    os.fdatasync(handle)
    found = memoryview(bytearray(len(DATA)))
    assert uncached.read(handle, found, 3) == len(DATA)
    assert found == DATA
    assert uncached.read(handle, found, 3 + len(DATA)) == 0


def test_other_errors_are_raised(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    handle = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Bad file") as caught:
            uncached.write(handle, memoryview(b"y"), 0)
        assert caught.value.errno == errno.EBADF
    finally:
        os.close(handle)
