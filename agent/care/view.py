"""A node's store as another process sees it: read only, without a lock, beside a running agent or without one."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from heliotrope.foundation import records
from heliotrope.foundation.errors import HeliotropeError, NotFound

from ..checkpoints.damage import DamageBook, reference_name
from ..checkpoints.reader import CheckpointReader
from ..checkpoints.registry import CheckpointRecord, load_jobs
from ..checkpoints.store import read_reference


@dataclass(frozen=True)
class ChunkFile:
    """A chunk that the store keeps in a file of its own."""

    path: Path
    digest: bytes
    size_bytes: int

    def whole(self) -> bool:
        """Whether its bytes are its name's; a file that was collected meanwhile is no damage."""
        try:
            return blake3(self.path.read_bytes()).digest() == self.digest
        except FileNotFoundError:
            return True


class StoreView:
    """The state folder of an agent. Raises NotFound where there is none."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._register = state_dir / "checkpoints"
        self._store = state_dir / "store"
        if not self._register.is_dir() or not self._store.is_dir():
            raise NotFound(
                f"cannot read the store in {state_dir}: no agent has kept its state there; name its state_dir"
            )
        self.damage = DamageBook(self._register / "damaged")

    def checkpoints(self) -> list[CheckpointRecord]:
        """Every registered one, by job, oldest first."""
        return load_jobs(self._register)

    def holds(self, checkpoint: CheckpointRecord) -> bool:
        """Whether it is still registered: an agent prunes while we read."""
        return checkpoint in self.checkpoints()

    def reader(self, checkpoint: CheckpointRecord) -> CheckpointReader | None:
        """Its chunks in place; None when the store's manifest of it is gone or cannot be read."""
        name = reference_name(checkpoint.job_id, checkpoint.epoch, checkpoint.sequence)
        try:
            root, manifest = read_reference(self._store / "references" / name)
        except HeliotropeError:
            return None
        return CheckpointReader(root or Path(checkpoint.path), manifest)

    def chunk_files(self) -> list[ChunkFile]:
        """Chunks that are kept beside the checkpoints."""
        found = []
        for path in sorted((self._store / "chunks").glob("??/" + "?" * 64)):
            try:
                found.append(ChunkFile(path, bytes.fromhex(path.name), path.stat().st_size))
            except (ValueError, FileNotFoundError):
                continue  # no chunk's name, or collected between the two looks
        return found

    def set_aside(self, chunk: ChunkFile) -> None:
        """Out of the way, so that nobody counts it as held; the store's next collection removes it."""
        folder = self._store / "damaged"
        folder.mkdir(mode=0o700, exist_ok=True)
        chunk.path.rename(folder / chunk.path.name)
        records.sync_folder(chunk.path.parent)

    def agent_runs(self) -> bool:
        """Whether an agent holds this state now."""
        try:
            handle = os.open(self._state_dir / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # Shared and at once let go: a starting agent could meet it only within these microseconds.
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(handle)
