"""A pull over real TLS gives the same checkpoint: names, modes, times, holes, bytes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from heliotrope.agent.checkpoints import manifest as manifests
from heliotrope.agent.checkpoints.reader import CheckpointReader
from heliotrope.agent.checkpoints.scan import build
from heliotrope.agent.transfer.result import Progress, PullOptions
from heliotrope.agent.transfer.server import ServerOptions
from heliotrope.foundation.errors import Conflict, Corrupt, HeliotropeError, NotFound

from .conftest import Site

RNG = np.random.default_rng(3)


def make_checkpoint(root: Path, megabytes: int = 6) -> Path:
    """A folder with tensors, text, an empty file, a hole, a link and an odd name."""
    (root / "sub" / "empty").mkdir(parents=True)
    weights = (RNG.standard_normal(megabytes * 250_000) * 0.02).astype(np.float32)
    np.savez(root / "state.npz", weights=weights, step=np.array(7))
    (root / "sub" / "nothing").touch()
    (root / "sub" / os.fsdecode(b"odd\xff\n%41")).write_bytes(b"text " * 50_000)
    with open(root / "sparse", "wb") as file:
        file.seek(20 << 20)
        file.write(b"end")
    (root / "latest").symlink_to("sub/nothing")
    (root / "sub").chmod(0o500)
    return root


@pytest.mark.parametrize("effort", [0, 1, 2])
@pytest.mark.parametrize("connections", [1, 3])
def test_a_folder_arrives_whole(
    site_with: Callable[[ServerOptions], Site], tmp_path: Path, effort: int, connections: int
) -> None:
    site = site_with(ServerOptions(effort=effort))
    source = site.offer(make_checkpoint(tmp_path / "ck", 3))
    seen: list[Progress] = []
    result = site.pull(tmp_path / "out", options=PullOptions(connections=connections), on_progress=seen.append)
    assert result.manifest_digest == source.digest == manifests.digest(build(tmp_path / "out"))
    assert result.connections == connections and result.cuts == 0
    assert result.fetched_bytes + result.reused_bytes == source.manifest.data_bytes
    assert seen[-1].done_bytes == seen[-1].total_bytes == source.manifest.data_bytes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ck", "out"]


def test_floats_shrink_on_the_wire(site: Site, tmp_path: Path) -> None:
    site.offer(make_checkpoint(tmp_path / "ck"))
    result = site.pull(tmp_path / "out")
    assert result.wire_bytes < 0.9 * result.fetched_bytes


def test_a_single_file_and_an_empty_one(site: Site, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(RNG.bytes(3_000_000))
    (tmp_path / "none").touch()
    for name in ("one", "none"):
        site.offer(tmp_path / name, name)
        site.pull(tmp_path / f"{name}-out", name)
        assert (tmp_path / f"{name}-out").read_bytes() == (tmp_path / name).read_bytes()


def test_many_small_files(site: Site, tmp_path: Path) -> None:
    root = tmp_path / "ck"
    root.mkdir()
    for number in range(400):
        (root / f"{number:04}").write_bytes(RNG.bytes(number))
    source = site.offer(root)
    assert site.pull(tmp_path / "out").manifest_digest == source.digest


def test_equal_chunks_travel_once(site: Site, tmp_path: Path) -> None:
    root = tmp_path / "ck"
    root.mkdir()
    data = RNG.bytes(2_000_000)
    for name in "abc":
        (root / name).write_bytes(data)
    site.offer(root)
    result = site.pull(tmp_path / "out")
    assert result.fetched_bytes == 2_000_000 and result.reused_bytes == 4_000_000
    assert result.wire_bytes < 2_200_000


def test_calling_again_is_success_and_another_checkpoint_is_a_conflict(site: Site, tmp_path: Path) -> None:
    site.offer(make_checkpoint(tmp_path / "ck", 1))
    first = site.pull(tmp_path / "out")
    again = site.pull(tmp_path / "out")
    assert again.manifest_digest == first.manifest_digest and again.wire_bytes < 20_000
    (tmp_path / "out" / "more").touch()
    with pytest.raises(Conflict, match="something else is there"):
        site.pull(tmp_path / "out")


def test_a_changed_source_file_is_named_and_not_sent(site: Site, tmp_path: Path) -> None:
    root = make_checkpoint(tmp_path / "ck")
    site.offer(root)
    path = root / "state.npz"
    status = path.stat()
    with open(path, "r+b") as file:
        file.seek(3_000_000)
        byte = file.read(1)
        file.seek(3_000_000)
        file.write(bytes([byte[0] ^ 4]))
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    with pytest.raises(Corrupt, match=r"state\.npz.* changed after it was read"):
        site.pull(tmp_path / "out")
    assert not (tmp_path / "out").exists()


class _Liar(CheckpointReader):
    """A source that does not check what it reads."""

    def read_into(self, index: int, buffer: memoryview) -> None:
        buffer[:] = bytes(len(buffer))


def test_a_lying_source_is_found_out_by_the_receiver(site: Site, tmp_path: Path) -> None:
    source = site.offer(make_checkpoint(tmp_path / "ck"))
    site.sources["newest"] = _Liar(source.root, source.manifest)
    with pytest.raises(Corrupt, match="decoded bytes are not those of the manifest"):
        site.pull(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_removed_source_file_is_named(site: Site, tmp_path: Path) -> None:
    root = make_checkpoint(tmp_path / "ck")
    site.offer(root)
    (root / "state.npz").unlink()
    with pytest.raises(NotFound, match=r"state\.npz"):
        site.pull(tmp_path / "out")


def test_an_unknown_reference_is_the_sources_error(site: Site, tmp_path: Path) -> None:
    with pytest.raises(HeliotropeError, match="missing"):
        site.pull(tmp_path / "out", "missing")


def test_cancel_keeps_what_came_and_the_next_call_goes_on(site: Site, tmp_path: Path) -> None:
    source = site.offer(make_checkpoint(tmp_path / "ck", 40))
    cancel = threading.Event()

    def stop_half_way(progress: Progress) -> None:
        if progress.done_bytes > 8 << 20:
            cancel.set()

    with pytest.raises(Conflict, match="cancelled"):
        site.pull(
            tmp_path / "out",
            cancel=cancel,
            on_progress=stop_half_way,
            options=PullOptions(rate=20e6, connections=2, memory_bytes=16 << 20),
        )
    result = site.pull(tmp_path / "out")
    assert result.manifest_digest == source.digest and result.resumed_bytes > 8 << 20
    assert result.resumed_bytes + result.fetched_bytes + result.reused_bytes == source.manifest.data_bytes


def test_two_pulls_to_one_place_do_not_mix(site: Site, tmp_path: Path) -> None:
    site.offer(make_checkpoint(tmp_path / "ck", 20))
    began = threading.Event()
    cancel = threading.Event()
    results: list[object] = []

    def first() -> None:
        try:
            site.pull(
                tmp_path / "out",
                cancel=cancel,
                on_progress=lambda _: began.set(),
                options=PullOptions(rate=2e6),
            )
        except Conflict as error:
            results.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    assert began.wait(20)
    with pytest.raises(Conflict, match="another transfer"):
        site.pull(tmp_path / "out")
    cancel.set()
    thread.join(20)
    assert "cancelled" in str(results[0])


def test_the_senders_side_hears_progress(site: Site, tmp_path: Path) -> None:
    source = site.offer(make_checkpoint(tmp_path / "ck", 12))
    site.pull(tmp_path / "out", options=PullOptions(rate=4e6))
    assert site.seen and site.seen[-1][1] == source.manifest.data_bytes
