"""The register: identities given in order, older epochs refused, nothing lost in a crash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from heliotrope.agent.checkpoints.registry import CheckpointRecord, CheckpointRegister
from heliotrope.foundation.errors import Conflict, Corrupt, InvalidInput, NotFound


def add(register: CheckpointRegister, epoch: int, step: int, job_id: str = "job") -> CheckpointRecord:
    digest = bytes([step]) * 32
    return register.add(
        job_id,
        epoch,
        name=f"step-{step}",
        path=Path(f"/ck/step-{step}"),
        manifest_digest=digest,
        state_bytes=5,
        step=step,
    )


def test_sequences_rise_and_survive_a_restart(tmp_path: Path) -> None:
    register = CheckpointRegister(tmp_path)
    first, second = add(register, 1, 10), add(register, 1, 20)
    assert (first.sequence, second.sequence) == (1, 2)
    again = CheckpointRegister(tmp_path)
    assert again.checkpoints("job") == [first, second] and again.newest("job") == second
    assert add(again, 2, 30).identity == (2, 3)
    assert again.find(bytes([10]) * 32) == first
    again.remove(first)
    again.remove(first)
    assert [record.step for record in CheckpointRegister(tmp_path).checkpoints("job")] == [20, 30]


def test_the_same_checkpoint_again_is_the_same_record(tmp_path: Path) -> None:
    register = CheckpointRegister(tmp_path)
    assert add(register, 1, 10) == add(register, 1, 10)
    assert len(register.checkpoints("job")) == 1


def test_older_epochs_are_refused(tmp_path: Path) -> None:
    register = CheckpointRegister(tmp_path)
    add(register, 2, 10)
    with pytest.raises(Conflict, match="epoch 1 of job job"):
        add(register, 1, 20)
    register.fence("job", 5)
    with pytest.raises(Conflict, match="epoch 4"):
        add(CheckpointRegister(tmp_path), 4, 20)
    assert register.epoch("job") == 5


def test_a_record_from_another_node_keeps_its_identity(tmp_path: Path) -> None:
    here, there = CheckpointRegister(tmp_path / "a"), CheckpointRegister(tmp_path / "b")
    record = [add(here, 3, step) for step in (1, 2, 3)][-1]
    assert there.adopt(record) == there.adopt(record) == record
    assert there.checkpoints("job") == [record]
    assert add(there, 4, 9).sequence == 4
    other = CheckpointRecord("job", 4, 4, "x", "/x", "00" * 32, 1)
    with pytest.raises(Conflict, match="identity"):
        there.adopt(other)


def test_bad_ids_and_unknown_digests_are_named(tmp_path: Path) -> None:
    register = CheckpointRegister(tmp_path)
    with pytest.raises(InvalidInput, match=r"\.\./job"):
        add(register, 1, 1, "../job")
    with pytest.raises(NotFound):
        register.find(bytes(32))
    assert register.newest("unknown") is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    add(CheckpointRegister(tmp_path), 1, 1)
    (tmp_path / "job.json").write_text('{"version": 1')
    with pytest.raises(Corrupt, match=r"job\.json"):
        CheckpointRegister(tmp_path)


_SCRIPT = """
import sys
from pathlib import Path
from heliotrope.agent.checkpoints.registry import CheckpointRegister
from heliotrope.foundation import failpoints
failpoints.arm()
register = CheckpointRegister(Path(sys.argv[1]))
register.add("job", 1, name="n", path=Path("/n"), manifest_digest=bytes(32), state_bytes=1)
"""


@pytest.mark.parametrize(("point", "kept"), [("register.before", 0), ("register.persisted", 1)])
def test_a_kill_leaves_the_old_or_the_new(tmp_path: Path, point: str, kept: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(tmp_path)], env={"HELIOTROPE_FAILPOINTS": f"{point}=kill"}, check=False
    )
    assert done.returncode == -9
    assert len(CheckpointRegister(tmp_path).checkpoints("job")) == kept
