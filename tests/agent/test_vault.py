"""The node's checkpoints: identities, pins against the job's pruning, and what a peer may read."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heliotrope.agent.checkpoints.pins import Pins
from heliotrope.agent.checkpoints.registry import CheckpointRegister
from heliotrope.agent.checkpoints.store import ChunkStore
from heliotrope.agent.held import HeldJobs
from heliotrope.agent.vault import Vault
from heliotrope.foundation.errors import Denied, NotFound
from heliotrope.foundation.tickets import Ticket


def open_vault(folder: Path) -> Vault:
    return Vault(
        CheckpointRegister(folder / "register"),
        Pins(folder / "pins"),
        ChunkStore(folder / "store", quota_bytes=2**30),
        HeldJobs(folder / "jobs"),
    )


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return open_vault(tmp_path)


def make(folder: Path, name: str, data: bytes) -> Path:
    path = folder / "made" / name
    path.mkdir(parents=True)
    (path / "state.bin").write_bytes(data)
    return path


def ticket(job_id: str = "j-1") -> Ticket:
    return Ticket(
        fleet="test",
        job_id=job_id,
        migration_id="m-1",
        epoch=1,
        source_node="a",
        destination_node="b",
        byte_limit=2**30,
        expires_utc=datetime(2100, 1, 1, tzinfo=UTC),
    )


def test_a_checkpoint_has_one_identity_also_after_a_restart(vault: Vault, tmp_path: Path) -> None:
    path = make(tmp_path, "step-1", b"one")
    first = vault.add("j-1", 3, path, 1)
    assert vault.add("j-1", 3, path, 1) == first
    again = open_vault(tmp_path)
    assert again.add("j-1", 3, path, 1) == first
    assert again.checkpoints("j-1") == (first,)
    second = again.add("j-1", 3, make(tmp_path, "step-2", b"two"), 2)
    assert (second.epoch, second.sequence) == (3, first.sequence + 1)


def test_the_jobs_pruning_takes_nothing_away(vault: Vault, tmp_path: Path) -> None:
    path = make(tmp_path, "step-1", b"one")
    checkpoint = vault.add("j-1", 1, path, 1)
    shutil.rmtree(path)
    assert (vault.path("j-1", checkpoint) / "state.bin").read_bytes() == b"one"
    with pytest.raises(NotFound, match="the job removed it"):
        vault.add("j-1", 1, path, 1)


def test_what_a_peer_reads_is_not_pruned(vault: Vault, tmp_path: Path) -> None:
    """Found by the demonstration: a job that checkpoints often pruned what was just being staged."""
    made = [vault.add("j-1", 1, make(tmp_path, f"step-{n}", bytes([n]) * 100), n) for n in range(5)]
    lent = vault.open_source(ticket(), made[0].manifest_digest.hex())
    vault.prune("j-1", 2, spare=(made[1].key,))
    assert [one.step for one in vault.checkpoints("j-1")] == [0, 1, 3, 4]
    buffer = bytearray(100)
    lent.read_into(0, memoryview(buffer))
    assert bytes(buffer) == bytes(100)
    lent.close()
    lent.close()
    vault.prune("j-1", 2)
    assert [one.step for one in vault.checkpoints("j-1")] == [3, 4]
    with pytest.raises(NotFound, match="not on this node"):
        vault.open_source(ticket(), made[0].manifest_digest.hex())


def test_a_ticket_opens_its_own_job_only(vault: Vault, tmp_path: Path) -> None:
    secret = vault.add("j-2", 1, make(tmp_path, "step-1", b"secret"), 1)
    with pytest.raises(Denied, match="the ticket is for job j-1"):
        vault.open_source(ticket(), secret.manifest_digest.hex())
    with pytest.raises(Denied):
        vault.open_base(ticket(), secret.manifest_digest)
    with pytest.raises(NotFound, match="not a manifest digest"):
        vault.open_source(ticket(), "../../etc/passwd")


def test_a_forgotten_job_leaves_nothing(vault: Vault, tmp_path: Path) -> None:
    checkpoint = vault.add("j-1", 1, make(tmp_path, "step-1", b"one"), 1)
    vault.forget_job("j-1")
    assert vault.checkpoints("j-1") == ()
    assert list((tmp_path / "pins").iterdir()) == []
    with pytest.raises(NotFound, match="pull it from its holder"):
        vault.path("j-1", checkpoint)
