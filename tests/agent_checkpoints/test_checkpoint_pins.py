"""Pins keep what a job prunes, cost no space where links work, and survive a restart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from heliotrope.agent.checkpoints.pins import Pins
from heliotrope.agent.checkpoints.scan import build
from heliotrope.foundation.errors import InvalidInput, NotFound


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    root = tmp_path / "step-10"
    (root / "shards").mkdir(parents=True)
    (root / "shards" / "w.bin").write_bytes(os.urandom(100_000))
    (root / "shards").chmod(0o500)
    (root / "latest").symlink_to("shards/w.bin")
    return root


def test_a_pinned_checkpoint_outlives_the_jobs_pruning(tmp_path: Path, checkpoint: Path) -> None:
    manifest = build(checkpoint)
    pins = Pins(tmp_path / "pins")
    pin = pins.pin("job-1-1", checkpoint)
    assert (pin.root / "shards/w.bin").stat().st_ino == (checkpoint / "shards/w.bin").stat().st_ino
    (checkpoint / "shards").chmod(0o700)
    (checkpoint / "shards" / "w.bin").unlink()
    assert build(pin.root) == manifest
    assert Pins(tmp_path / "pins").get("job-1-1").root == pin.root
    pins.unpin("job-1-1")
    assert pins.names() == [] and not pin.root.exists()
    pins.unpin("job-1-1")


def test_the_same_name_again_is_the_same_pin(tmp_path: Path, checkpoint: Path) -> None:
    pins = Pins(tmp_path / "pins")
    assert pins.pin("a", checkpoint) == pins.pin("a", checkpoint)


def test_other_file_systems_get_a_copy(tmp_path: Path, checkpoint: Path) -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system at /dev/shm")
    pins = Pins(shm / f"heliotrope-pins-{os.getpid()}")
    try:
        assert build(pins.pin("a", checkpoint).root) == build(checkpoint)
    finally:
        pins.unpin("a")
        (shm / f"heliotrope-pins-{os.getpid()}").rmdir()


def test_a_half_made_pin_is_cleared_at_the_next_start(tmp_path: Path) -> None:
    half = tmp_path / "pins" / ".a.tmp"
    half.mkdir(parents=True)
    (half / "x").touch()
    assert Pins(tmp_path / "pins").names() == [] and not half.exists()


def test_failures_leave_nothing(tmp_path: Path) -> None:
    pins = Pins(tmp_path / "pins")
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "a").touch()
    os.mkfifo(bad / "pipe")
    with pytest.raises(InvalidInput, match="pipe"):
        pins.pin("a", bad)
    assert list((tmp_path / "pins").iterdir()) == []
    with pytest.raises(NotFound):
        pins.get("a")
    with pytest.raises(InvalidInput, match=r"\.\./x"):
        pins.pin("../x", bad)
