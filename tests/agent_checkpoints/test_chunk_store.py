"""The store: every byte it gives is the digest's, quotas hold before writing, crashes leave it sound."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from blake3 import blake3

from heliotrope.agent.checkpoints.manifest import Chunk, Entry, Manifest
from heliotrope.agent.checkpoints.scan import build
from heliotrope.agent.checkpoints.store import ChunkStore
from heliotrope.foundation.errors import Corrupt, NotFound, OutOfSpace


def manifest_of(*parts: bytes) -> Manifest:
    chunks = []
    offset = 0
    for part in parts:
        chunks.append(Chunk(offset, len(part), blake3(part).digest(), 1, False, ""))
        offset += len(part)
    return Manifest((Entry("", "file", 0o600, 0, offset, chunks=tuple(chunks)),))


def store_at(path: Path, quota_bytes: int = 1 << 30) -> ChunkStore:
    return ChunkStore(path, quota_bytes=quota_bytes)


def test_what_is_put_comes_back_after_a_restart(tmp_path: Path) -> None:
    digest = store_at(tmp_path).put(b"abc")
    again = store_at(tmp_path)
    assert again.has(digest) and again.get(digest) == b"abc" and again.used_bytes == 3
    with pytest.raises(NotFound):
        again.get(bytes(32))


def test_a_checkpoint_is_served_in_place(tmp_path: Path) -> None:
    checkpoint = tmp_path / "weights"
    checkpoint.write_bytes(os.urandom(1_000_000))
    manifest = build(checkpoint)
    store = store_at(tmp_path / "store")
    store.add_reference("job-1", manifest, checkpoint)
    again = store_at(tmp_path / "store")
    data = b"".join(again.get(chunk.digest) for _, chunk in manifest.places())
    assert data == checkpoint.read_bytes() and again.used_bytes == 0
    assert again.reference_of(again.references()["job-1"].digest) is not None
    again.remove_reference("job-1")
    assert not again.has(manifest.places()[0][1].digest)


def test_garbage_is_what_no_reference_names(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    store.add_reference("keep", manifest_of(b"one", b"two"))
    for part in (b"one", b"two", b"three"):
        store.put(part)
    assert store.collect() == 5 and store.used_bytes == 6
    store.remove_reference("keep")
    assert store_at(tmp_path).collect() == 6
    assert not list((tmp_path / "chunks").glob("??/*"))


def test_the_quota_holds_before_anything_is_written(tmp_path: Path) -> None:
    store = store_at(tmp_path, quota_bytes=10)
    store.put(b"12345678")
    store.put(b"12345678")
    with pytest.raises(OutOfSpace, match="quota"):
        store.put(b"abc")
    assert store.used_bytes == 8 and len(list((tmp_path / "chunks").glob("??/*"))) == 1


def test_the_disks_reserve_holds(tmp_path: Path) -> None:
    with pytest.raises(OutOfSpace, match="disk"):
        ChunkStore(tmp_path, quota_bytes=1 << 30, reserve_bytes=1 << 60).put(b"abc")


def test_damage_is_found_and_repaired_from_another_place(tmp_path: Path) -> None:
    checkpoint = tmp_path / "weights"
    checkpoint.write_bytes(os.urandom(50_000))
    manifest = build(checkpoint)
    store = store_at(tmp_path / "store")
    digest = store.put(checkpoint.read_bytes())
    kept = next((tmp_path / "store" / "chunks").glob("??/*"))
    kept.write_bytes(b"x" * 50_000)
    with pytest.raises(Corrupt, match=kept.name):
        store.get(digest)
    store.add_reference("in-place", manifest, checkpoint)
    assert store.get(digest) == checkpoint.read_bytes()
    assert not kept.exists() and store.verify().damaged == () and store.used_bytes == 0
    assert store.collect() == 50_000  # set aside until then


def test_a_changed_file_in_place_is_not_given_out(tmp_path: Path) -> None:
    checkpoint = tmp_path / "weights"
    checkpoint.write_bytes(os.urandom(50_000))
    manifest = build(checkpoint)
    store = store_at(tmp_path / "store")
    store.add_reference("in-place", manifest, checkpoint)
    checkpoint.write_bytes(os.urandom(50_000))
    assert len(store.verify().damaged) == 1
    with pytest.raises(Corrupt, match="weights"):
        store.get(manifest.places()[0][1].digest)
    with pytest.raises(NotFound):
        store.get(manifest.places()[0][1].digest)


_SCRIPT = """
import sys
from pathlib import Path
from heliotrope.agent.checkpoints.store import ChunkStore
from heliotrope.foundation import failpoints
store = ChunkStore(Path(sys.argv[1]), quota_bytes=1 << 30)
store.put(b"before")
failpoints.arm()
store.put(b"during")
"""


@pytest.mark.parametrize(("point", "kept"), [("store.chunk.written", 1), ("store.chunk.renamed", 2)])
def test_a_kill_while_writing_leaves_whole_chunks(tmp_path: Path, point: str, kept: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(tmp_path)], env={"HELIOTROPE_FAILPOINTS": f"{point}=kill"}, check=False
    )
    assert done.returncode == -9
    store = store_at(tmp_path)
    assert store.verify().chunk_count == kept and store.verify().damaged == ()
    assert not list((tmp_path / "chunks").glob("??/.*"))
