"""A destination without room says so and leaves nothing."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from heliotrope.agent.checkpoints import uncached
from heliotrope.agent.transfer import partial
from heliotrope.agent.transfer.result import PullOptions
from heliotrope.foundation.errors import InvalidInput, OutOfSpace

from .conftest import Site


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 8 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"mount is not permitted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_too_little_room_is_noticed_before_anything_moves(site: Site, small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "ck").write_bytes(np.random.default_rng(1).bytes(9_000_000))
    site.offer(tmp_path / "ck")
    with pytest.raises(OutOfSpace, match="needs 9000000 bytes"):
        site.pull(small_disk / "out")
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_fills_up_meanwhile_is_the_same(site: Site, small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "ck").write_bytes(np.random.default_rng(1).bytes(7_000_000))
    site.offer(tmp_path / "ck")
    filler = small_disk / "filler"

    def fill(_: object) -> None:
        if not filler.exists():
            disk = os.statvfs(small_disk)
            with contextlib.suppress(OSError):  # the pull takes its share of what was free meanwhile
                filler.write_bytes(bytes(disk.f_bavail * disk.f_frsize))

    with pytest.raises(OutOfSpace, match="No space left"):
        site.pull(small_disk / "out", on_progress=fill, options=PullOptions(rate=3e6))
    assert list(small_disk.iterdir()) == [filler]


def test_the_reserve_counts(site: Site, tmp_path: Path) -> None:
    (tmp_path / "ck").write_bytes(b"x" * 100_000)
    site.offer(tmp_path / "ck")
    with pytest.raises(OutOfSpace, match="reserve"):
        site.pull(tmp_path / "out", options=PullOptions(reserve_bytes=1 << 60))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ck"]


def test_a_destination_that_cannot_be_written_is_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / "ck").write_bytes(b"x" * 100_000)
    site.offer(tmp_path / "ck")
    with pytest.raises(InvalidInput, match="nowhere"):
        site.pull(tmp_path / "nowhere" / "out")


def test_a_checkpoint_too_large_for_the_page_cache_goes_past_it(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    past: list[int] = []
    write = uncached.write

    def seen(handle: int, data: memoryview, offset: int) -> int:
        past.append(len(data))
        return write(handle, data, offset)

    monkeypatch.setattr(partial, "CACHED_RATIO", 0.0)  # none is small enough
    monkeypatch.setattr(uncached, "write", seen)
    np.save(tmp_path / "state.npy", np.random.default_rng(1).integers(0, 1 << 62, 1_000_000))
    source = site.offer(tmp_path / "state.npy")
    assert site.pull(tmp_path / "out").manifest_digest == source.digest
    assert sum(past) == (tmp_path / "out").stat().st_size
