"""From a folder to its manifest and back; what cannot be carried or changes meanwhile is named."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from heliotrope.agent.checkpoints import manifest as manifests
from heliotrope.agent.checkpoints.cutting import cut
from heliotrope.agent.checkpoints.pins import Pins
from heliotrope.agent.checkpoints.reader import CheckpointReader
from heliotrope.agent.checkpoints.restore import lay_out, observe, seal, write_chunk
from heliotrope.agent.checkpoints.scan import build
from heliotrope.foundation.errors import Conflict, Corrupt, InvalidInput, NotFound

from .trees import TREES, Tree, plant


def restore(reader: CheckpointReader, root: Path) -> None:
    lay_out(root, reader.manifest)
    for index, (entry, chunk) in enumerate(reader.places):
        data = memoryview(bytearray(chunk.size_bytes))
        reader.read_into(index, data)
        write_chunk(root, entry, chunk, data)
    seal(root, reader.manifest)


@settings(max_examples=40, deadline=None)
@given(TREES)
def test_a_restored_tree_has_the_same_manifest(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, copy = Path(folder) / "root", Path(folder) / "copy"
        plant(root, tree)
        reader = CheckpointReader(root, build(root))
        assert manifests.decode(manifests.encode(reader.manifest)) == reader.manifest
        restore(reader, copy)
        assert observe(copy, reader.manifest).manifest == reader.manifest
        assert manifests.digest(build(copy)) == reader.digest
        pin = Pins(Path(folder) / "pins").pin("p", root)
        assert manifests.digest(build(pin.root)) == reader.digest


def test_holes_stay_holes(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"x" * 100_000)
    reader = CheckpointReader(path, build(path))
    assert reader.manifest.data_bytes < 1 << 20 and reader.manifest.state_bytes == 64 << 20
    restore(reader, tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_blocks * 512 < 1 << 20
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


def test_a_byte_in_a_hole_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(8 << 20)
    manifest = build(path)
    assert observe(path, manifest).manifest == manifest
    status = path.stat()
    with open(path, "r+b") as file:
        file.seek(5 << 20)
        file.write(b"!")
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert observe(path, manifest).manifest != manifest


def test_a_flipped_byte_is_seen_by_reader_and_observation(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(300_000))
    reader = CheckpointReader(path, build(path))
    status = path.stat()
    with open(path, "r+b") as file:
        file.seek(200_000)
        byte = file.read(1)
        file.seek(200_000)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert observe(path, reader.manifest).bad_chunks
    with pytest.raises(Corrupt, match="weights"):
        for index, (_, chunk) in enumerate(reader.places):
            reader.read_into(index, memoryview(bytearray(chunk.size_bytes)))


def test_pipes_sockets_and_outside_links_are_refused_by_name(tmp_path: Path) -> None:
    makers: dict[str, Callable[[Path], object]] = {
        "pipe": os.mkfifo,
        "sock": lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
        "link": lambda path: path.symlink_to("/etc/passwd"),
    }
    for name, make in makers.items():
        root = tmp_path / f"with-{name}"
        root.mkdir()
        make(root / name)
        with pytest.raises(InvalidInput, match=name):
            build(root)


def test_a_root_that_is_missing_or_a_link_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        build(tmp_path / "nothing")
    (tmp_path / "latest").symlink_to("x")
    with pytest.raises(InvalidInput, match="symlink"):
        build(tmp_path / "latest")


@pytest.mark.parametrize("change", ["grow", "touch", "new", "gone", "swap"])
def test_a_change_while_reading_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    root = tmp_path / "ck"
    root.mkdir()
    (root / "a").write_bytes(b"1" * 100_000)
    (root / "b").write_bytes(b"2" * 100_000)
    hits: list[int] = []

    def cut_and_change(handle: int, size_bytes: int, chunk_bytes: int) -> object:
        yield from cut(handle, size_bytes, chunk_bytes)
        hits.append(1)
        if len(hits) == 2:
            if change == "grow":
                (root / "b").write_bytes(b"2" * 100_001)
            elif change == "touch":
                os.utime(root / "a", ns=(1, 1))
            elif change == "new":
                (root / "c").touch()
            elif change == "gone":
                (root / "a").unlink()
            else:
                (root / "other").write_bytes(b"3" * 100_000)
                (root / "other").rename(root / "a")

    monkeypatch.setattr("heliotrope.agent.checkpoints.scan.cut", cut_and_change)
    with pytest.raises(Conflict, match="changed while it was read"):
        build(root)
    assert len(hits) == 2


def test_a_bad_chunk_size_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="chunk_bytes"):
        build(tmp_path, chunk_bytes=1000)
