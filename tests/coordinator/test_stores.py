"""Outputs and bundles on the coordinator's disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from blake3 import blake3

from heliotrope.coordinator.bundles import BundleStore
from heliotrope.coordinator.logstore import CUT, LogStore
from heliotrope.foundation.errors import Corrupt, NotFound, OutOfSpace
from heliotrope.foundation.model import LogPiece, LogStream


def piece(offset: int, data: bytes, epoch: int = 1, stream: LogStream = LogStream.STDOUT) -> LogPiece:
    return LogPiece(job_id="j-1", epoch=epoch, attempt=0, stream=stream, offset=offset, data=data)


def text(store: LogStore) -> bytes:
    return b"".join(data for run in store.runs("j-1") for data in store.read(run, 0))


def test_a_piece_is_kept_once_and_a_gap_is_not_taken(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 1000)
    assert store.append(piece(0, b"hello ")) == 6
    assert store.append(piece(0, b"hello ")) == 6
    assert store.append(piece(3, b"lo world")) == 11
    assert store.append(piece(20, b"later")) == 11
    assert text(store) == b"hello world"
    assert LogStore(tmp_path, 1000).append(piece(0, b"hello world!")) == 12
    assert text(store) == b"hello world!"


def test_runs_come_in_order_and_streams_apart(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 1000)
    for epoch in (10, 2):
        store.append(piece(0, b"out", epoch))
        store.append(piece(0, b"err", epoch, LogStream.STDERR))
    assert [(run.epoch, run.stream) for run in store.runs("j-1")] == [
        (2, LogStream.STDERR),
        (2, LogStream.STDOUT),
        (10, LogStream.STDERR),
        (10, LogStream.STDOUT),
    ]


def test_the_limit_cuts_with_a_mark_and_goes_on_acknowledging(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 10)
    assert store.append(piece(0, b"0123456789abc")) == 13
    assert store.append(piece(13, b"more")) == 17
    assert text(store) == b"0123456789" + CUT


def test_an_upload_is_whole_or_not_there(tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "bundles", 100)
    data = b"x" * 50
    digest = blake3(data).digest()
    with pytest.raises(Corrupt, match="announced"), store.receive(digest, 50, "train") as upload:
        upload.write(data[:-1] + b"y")
        upload.finish()
    with pytest.raises(Corrupt, match="more than the announced 50 bytes"), store.receive(digest, 50, "t") as upload:
        upload.write(data + b"z")
    assert not store.has(digest)
    assert list((tmp_path / "bundles").iterdir()) == []
    with store.receive(digest, 50, "train") as upload:
        upload.write(data)
        upload.finish()
    assert store.path(digest).read_bytes() == data
    with pytest.raises(OutOfSpace, match="bundle_limit_bytes"):
        store.receive(digest, 101, "train")
    with pytest.raises(NotFound, match="submit the job again"):
        store.path(b"\x00" * 32)
