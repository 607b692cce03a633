"""What a sender reads from: a checkpoint's manifest and its chunks."""

from __future__ import annotations

from typing import Protocol

from heliotrope.agent.checkpoints.manifest import Chunk, Entry, Manifest


class Source(Protocol):
    """A checkpoint to read; ``CheckpointReader`` is one. Used by several threads at once."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def digest(self) -> bytes: ...

    @property
    def places(self) -> list[tuple[Entry, Chunk]]: ...

    def read_into(self, index: int, buffer: memoryview) -> None:
        """Fill ``buffer`` with chunk ``index``; raise NotFound or Corrupt naming the file."""

    def close(self) -> None: ...
