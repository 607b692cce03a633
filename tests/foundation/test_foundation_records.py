"""Durable records: whole or absent, also when the writer is killed in the middle."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.foundation import records
from heliotrope.foundation.errors import Corrupt


class Lease(msgspec.Struct, frozen=True):
    job_id: str
    epoch: int


@given(job_id=st.text(), epoch=st.integers(-(2**63), 2**63 - 1))
def test_what_is_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, job_id: str, epoch: int) -> None:
    path = tmp_path_factory.mktemp("records") / "lease.json"
    records.save(path, Lease(job_id, epoch))
    assert records.load(path, Lease) == Lease(job_id, epoch)


def test_a_record_is_private_unless_said_otherwise(tmp_path: Path) -> None:
    records.write_durably(tmp_path / "secret", b"x")
    records.write_durably(tmp_path / "public", b"x", mode=0o644)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("secret", "public")]
    assert modes == [0o600, 0o644 & ~_umask()]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_failed_write_leaves_the_old_record_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    records.save(path, Lease("a", 1))
    with pytest.raises(TypeError):
        records.write_durably(path, "not bytes")  # type: ignore[arg-type]
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        records.write_durably(tmp_path / "folder", b"x")
    assert records.load(path, Lease) == Lease("a", 1)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "lease.json"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "truncated"), ('{"job_id": "a"', "truncated"), ("{}", "job_id"), ('{"job_id": 1, "epoch": 1}', "job_id")],
)
def test_a_damaged_record_is_named(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "lease.json"
    path.write_text(text)
    with pytest.raises(Corrupt) as caught:
        records.load(path, Lease)
    assert str(path) in str(caught.value) and reason in str(caught.value)


def test_a_missing_record_is_just_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        records.load(tmp_path / "none", Lease)


WRITER = """
import sys
from pathlib import Path
from heliotrope.foundation import records
path, number = Path(sys.argv[1]), 0
while True:
    number += 1
    records.write_durably(path, str(number).encode() * 20_000 + b"end")
    print(number, flush=True)
"""


def test_a_killed_writer_leaves_a_whole_record(tmp_path: Path) -> None:
    path = tmp_path / "record"
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        with writer.stdout:
            for _ in range(3):
                last = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            last = int((writer.stdout.read().splitlines() or [str(last)])[-1])
        assert writer.wait(30) == -signal.SIGKILL
        content = path.read_bytes()
        assert content in {str(n).encode() * 20_000 + b"end" for n in (last, last + 1)}


def test_only_a_folder_can_be_synced(tmp_path: Path) -> None:
    records.sync_folder(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        records.sync_folder(tmp_path / "file")
