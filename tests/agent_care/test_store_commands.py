"""`heliotrope store` on a state folder without an agent, and what a crash in the middle of mending leaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from heliotrope.agent.checkpoints.pins import Pins
from heliotrope.agent.checkpoints.registry import CheckpointRegister
from heliotrope.agent.checkpoints.store import ChunkStore
from heliotrope.agent.held import HeldJobs
from heliotrope.agent.vault import Vault
from heliotrope.foundation import failpoints
from heliotrope.foundation.errors import Corrupt
from heliotrope.foundation.failpoints import FailpointError
from heliotrope.foundation.model import Checkpoint


def open_vault(state: Path) -> Vault:
    return Vault(
        CheckpointRegister(state / "checkpoints"),
        Pins(state / "pins"),
        ChunkStore(state / "store", quota_bytes=2**30),
        HeldJobs(state / "jobs"),
    )


@pytest.fixture
def held(tmp_path: Path) -> tuple[Vault, Checkpoint, Path]:
    """A vault, its one checkpoint, and the file with its bytes."""
    made = tmp_path / "made" / "step-1"
    made.mkdir(parents=True)
    (made / "state.bin").write_bytes(os.urandom(300_000))
    vault = open_vault(tmp_path / "state")
    checkpoint = vault.add("j-1", 1, made, 1)
    return vault, checkpoint, vault.path("j-1", checkpoint) / "state.bin"


def run(verb: str, state: Path, *options: str) -> tuple[int, Any]:
    command = [sys.executable, "-m", "heliotrope.cli", "store", verb, "--state-dir", str(state), "--json", *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def spoil(path: Path) -> None:
    path.chmod(0o600)
    with open(path, "r+b") as file:
        file.seek(200_000)
        file.write(b"rot")


def test_damage_is_withdrawn_and_found_whole_again(held: tuple[Vault, Checkpoint, Path], tmp_path: Path) -> None:
    vault, checkpoint, path = held
    state, good = tmp_path / "state", path.read_bytes()
    chunk_file = state / "store" / "chunks" / "ab" / ("ab" * 32)
    chunk_file.parent.mkdir()
    chunk_file.write_bytes(b"not what its name says")
    assert run("show", state)[1]["collectable_bytes"] == len(b"not what its name says")
    spoil(path)
    code, report = run("verify", state)
    assert code == 8 and report["damaged_chunk_files"] == ["ab" * 32] and not chunk_file.exists()
    (damaged,) = report["damaged"]
    assert [chunk["file"] for chunk in damaged["chunks"]] == ["state.bin"]
    # The vault of a running agent sees it at once: it is neither offered nor given out.
    assert vault.checkpoints("j-1") == () and vault.damaged("j-1") == (checkpoint,)
    with pytest.raises(Corrupt, match=r"'state.bin' is damaged at [0-9]+ "):
        vault.path("j-1", checkpoint)
    code, said = run("verify", state, "--repair")
    assert code == 4 and "no agent runs here" in said
    path.write_bytes(good)
    assert run("verify", state)[0] == 0 and vault.checkpoints("j-1") == (checkpoint,)
    assert run("show", state)[1]["damaged_count"] == 0


def test_a_lost_file_and_a_lost_manifest_are_damage(held: tuple[Vault, Checkpoint, Path], tmp_path: Path) -> None:
    path = held[2]
    path.unlink()
    (damaged,) = run("verify", tmp_path / "state")[1]["damaged"]
    assert "cannot be found" in damaged["chunks"][0]["cause"]
    (tmp_path / "state" / "store" / "references" / "j-1.1.1").write_bytes(b"?")
    (damaged,) = run("verify", tmp_path / "state")[1]["damaged"]
    assert "manifest of it is gone" in damaged["chunks"][0]["cause"]
    assert open_vault(tmp_path / "state").checkpoints("j-1") == ()  # the agent comes up all the same


def test_a_crash_between_the_two_renames_is_mended_by_the_next_attempt(
    held: tuple[Vault, Checkpoint, Path], tmp_path: Path
) -> None:
    vault, checkpoint, path = held
    good = path.read_bytes()
    manifest = vault.store.references()["j-1.1.1"].manifest
    mended = tmp_path / "state" / "1-1.mended"
    shutil.copytree(path.parent, mended)
    spoil(path)
    run("verify", tmp_path / "state")
    failpoints.arm("vault.mend.aside=error")
    with pytest.raises(FailpointError):
        vault.mend("j-1", checkpoint, mended, manifest)
    failpoints.arm("")
    again = open_vault(tmp_path / "state")
    assert again.checkpoints("j-1") == () and mended.exists()
    again.mend("j-1", checkpoint, mended, manifest)
    assert again.checkpoints("j-1") == (checkpoint,) and path.read_bytes() == good
    assert not list((tmp_path / "state").glob(".*aside"))


def test_a_folder_that_is_no_agents_is_named(tmp_path: Path) -> None:
    assert run("show", tmp_path)[0] == 3
