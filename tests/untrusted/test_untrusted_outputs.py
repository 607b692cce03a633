"""Outputs that a job made to lead its agents elsewhere: what is gathered and where what arrives is put."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from heliotrope.agent.checkpoints.pins import Pins
from heliotrope.agent.checkpoints.registry import CheckpointRegister
from heliotrope.agent.checkpoints.store import ChunkStore
from heliotrope.agent.held import HeldJob, HeldJobs
from heliotrope.agent.luggage import Luggage
from heliotrope.agent.vault import Vault
from heliotrope.foundation.jobspec import JobSpec
from heliotrope.foundation.model import Checkpoint

SPEC = JobSpec(name="x", command=("true",), outputs=("results", "*.log", "."))
ARRIVED = Checkpoint(epoch=1, sequence=1, manifest_digest=b"d" * 32, state_bytes=0)


@pytest.fixture
def held(tmp_path: Path) -> HeldJobs:
    held = HeldJobs(tmp_path / "jobs")
    held.put(HeldJob(job_id="j-1", spec=SPEC, bundle_digest=b""))
    held.work("j-1").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("hush")
    return held


@pytest.fixture
def luggage(tmp_path: Path, held: HeldJobs) -> Luggage:
    store = ChunkStore(tmp_path / "store", quota_bytes=1 << 30, reserve_bytes=0)
    return Luggage(
        held, Vault(CheckpointRegister(tmp_path / "r"), Pins(tmp_path / "pins"), store, held, kind=".outputs")
    )


def pinned(tmp_path: Path) -> list[str]:
    (pin,) = (tmp_path / "pins").iterdir()
    root = pin / "outgoing"
    return sorted(
        path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir() or path.is_symlink()
    )


def test_only_the_jobs_own_plain_files_and_inner_links_are_gathered(
    tmp_path: Path, held: HeldJobs, luggage: Luggage
) -> None:
    work = held.work("j-1")
    (work / "results" / "deep").mkdir(parents=True)
    (work / "results" / "deep" / "a").write_text("a")
    (work / "results" / "inner").symlink_to("deep/a")
    (work / "results" / "outer").symlink_to(tmp_path / "secret")
    (work / "results" / "up").symlink_to("../../../secret/key")
    (work / "x.log").symlink_to(tmp_path / "secret" / "key")
    (work / "y.log").write_text("y")
    (work / "checkpoints" / "step-1").mkdir(parents=True)
    (work / "checkpoints" / "step-1" / "state").write_text("s")
    taken = luggage.gather("j-1", 3)
    assert taken is not None and taken.epoch == 3
    assert pinned(tmp_path) == ["results/deep/a", "results/inner", "y.log"]
    again = luggage.gather("j-1", 4)
    assert again is not None and pinned(tmp_path) == ["results/deep/a", "results/inner", "y.log"]
    assert not (held.folder("j-1") / "outgoing").exists()


def test_a_pipe_stays_behind_and_nothing_is_none(tmp_path: Path, held: HeldJobs, luggage: Luggage) -> None:
    assert luggage.gather("j-1", 1) is None
    os.mkfifo(held.work("j-1") / "p.log")
    assert luggage.gather("j-1", 1) is None


@pytest.mark.parametrize("trap", ["folder", "file", "over-folder"])
def test_what_arrives_stays_in_the_jobs_folder(tmp_path: Path, held: HeldJobs, luggage: Luggage, trap: str) -> None:
    work, incoming = held.work("j-1"), luggage.incoming("j-1")
    (incoming / "results").mkdir(parents=True)
    (incoming / "results" / "key").write_text("new")
    if trap == "folder":
        (work / "results").symlink_to(tmp_path / "secret")
    elif trap == "file":
        (work / "results").mkdir()
        (work / "results" / "key").symlink_to(tmp_path / "secret" / "key")
    else:
        (work / "results" / "key" / "below").mkdir(parents=True)
    luggage.put("j-1", ARRIVED)
    assert (tmp_path / "secret" / "key").read_text() == "hush"
    assert (work / "results" / "key").read_text() == "new"
    assert not (work / "results").is_symlink() and not (work / "results" / "key").is_symlink()
    assert not incoming.exists() and luggage.has("j-1", ARRIVED)
    assert not luggage.has("j-1", msgspec.structs.replace(ARRIVED, manifest_digest=b"e" * 32))
