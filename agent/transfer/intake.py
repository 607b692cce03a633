"""The decoders of a pull: frames become chunks, chunks are checked and written; local copies are tried first."""

from __future__ import annotations

from dataclasses import dataclass

from blake3 import blake3

from heliotrope.agent.checkpoints.reader import CheckpointReader, read_chunk
from heliotrope.agent.checkpoints.store import ChunkStore
from heliotrope.foundation.errors import Corrupt, HeliotropeError
from heliotrope.native import HEADER_BYTES, MalformedFrame, decode, inspect

from .budget import Budget, Buffers, Memory
from .handshake import as_catalogued
from .partial import Partial
from .work import Arrived, Work


@dataclass
class Intake:
    """What the decoders work with. ``twin_of_base``: digest -> chunk index in the base checkpoint."""

    work: Work
    partial: Partial
    store: ChunkStore | None
    base: CheckpointReader | None
    budget: Budget
    buffers: Buffers
    journaled: frozenset[int]

    def __post_init__(self) -> None:
        places = self.base.places if self.base else []
        self._twin_of_base = {chunk.digest: index for index, (_, chunk) in enumerate(places)}
        self._without_base: set[int] = set()

    def begin(self) -> None:
        """Sort all units into those that may be here and those to fetch."""
        local: list[int] = []
        fetch: list[int] = []
        for unit in self.work.units:
            digest = self.work.places[unit][1].digest
            here = digest in self._twin_of_base or (self.store is not None and self.store.has(digest))
            here = here or any(index in self.journaled for index in self.work.twins(unit))
            (local if here else fetch).append(unit)
        self.work.try_locally(local)
        # The largest first: in the end each connection then holds little that the others could not wait for.
        self.work.fetch(sorted(fetch, key=lambda unit: -self.work.places[unit][1].size_bytes))

    def plain(self, unit: int) -> bool:
        """Whether the unit must be asked for without a base: decoding on one failed."""
        return unit in self._without_base

    def run(self) -> None:
        """One decoder thread; ends when the work is over, hands any error to the work."""
        try:
            while (task := self.work.next_task()) is not None:
                if isinstance(task, int):
                    self._reuse(task)
                else:
                    self._decode(task)
        except Exception as error:  # noqa: BLE001 - carried to the thread that called pull()
            self.work.stop(as_catalogued(error))

    def _reuse(self, unit: int) -> None:
        """Take the unit from the partial folder, the base or the store; if none has it, fetch it."""
        work = self.work
        size_bytes = work.places[unit][1].size_bytes
        buffer, data = self.buffers.take(size_bytes)
        try:
            there = [index for index in work.twins(unit) if index in self.journaled and self._written(index, data)]
            if not there and not self._from_here(unit, data):
                work.fetch([unit])
                return
            for index in work.twins(unit):
                if index not in there:
                    self._write(index, data)
            work.done(unit, fetched=False, resumed_bytes=size_bytes * len(there))
        finally:
            self.buffers.give(buffer)

    def _written(self, index: int, data: memoryview) -> bool:
        entry, chunk = self.work.places[index]
        try:
            read_chunk(self.partial.tree, entry, chunk, data)
        except HeliotropeError:
            return False
        return True

    def _from_here(self, unit: int, data: memoryview) -> bool:
        digest = self.work.places[unit][1].digest
        twin = self._twin_of_base.get(digest)
        try:
            if self.base is not None and twin is not None:
                self.base.read_into(twin, data)
                return True
        except HeliotropeError:
            pass
        try:
            if self.store is not None and self.store.has(digest):
                self.store.readinto(digest, data)
                return True
        except HeliotropeError:
            pass
        return False

    def _decode(self, item: Arrived) -> None:
        work, unit = self.work, item.index
        chunk = work.places[unit][1]
        held = [item.frame.buffer]
        try:
            frame = inspect(item.frame.data)
            delta = frame.needs_base
            if frame.is_stored and frame.raw_bytes == chunk.size_bytes:
                data = item.frame.data[HEADER_BYTES:]  # it is used where it came to lie
            else:
                buffer, data = self.buffers.take(chunk.size_bytes)
                held.append(buffer)
                base_data = self._base(item, held) if delta else None
                decode([item.frame.data], [data], [base_data])
            if blake3(data).digest() != chunk.digest:
                raise MalformedFrame("the decoded bytes are not those of the manifest")
            for index in work.twins(unit):
                self._write(index, data)
            work.done(unit, fetched=True, delta=delta)
        except (MalformedFrame, HeliotropeError) as error:
            self._retry(item, error)
        finally:
            for buffer in held:
                self.buffers.give(buffer)
            self.budget.give(item.cost_bytes)

    def _base(self, item: Arrived, held: list[Memory]) -> memoryview:
        if self.base is None or item.base_index < 0:
            raise MalformedFrame("it is a delta although none was asked for")
        buffer, data = self.buffers.take(self.base.places[item.base_index][1].size_bytes)
        held.append(buffer)
        self.base.read_into(item.base_index, data)
        return data

    def _retry(self, item: Arrived, error: Exception) -> None:
        """Once more without a base, since ours may be damaged; a second failure is the sender's."""
        entry, chunk = self.work.places[item.index]
        if item.base_index >= 0 and not self.plain(item.index) and not _is_ours(error):
            self._without_base.add(item.index)
            self.work.fetch([item.index], first=True)
            return
        if isinstance(error, HeliotropeError):
            raise error
        raise Corrupt(
            f"cannot take chunk at {chunk.offset} of {entry.path or 'the checkpoint'!r}: {error}; check the source's "
            "disk"
        ) from error

    def _write(self, index: int, data: memoryview) -> None:
        self.partial.write(index, data)
        self.partial.note(index)


def _is_ours(error: Exception) -> bool:
    """Whether the error is about writing here: asking again would not help."""
    return isinstance(error, HeliotropeError) and not isinstance(error, Corrupt) and type(error).__name__ != "NotFound"
