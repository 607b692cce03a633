"""The sending end of one connection: read and code wanted chunks in one thread while another sends what is coded.

    Want -> [ coder: read, check the digest, code ] -> bounded queue -> [ this thread: send ] -> FRAME

Both directions of a TLS connection stay in one thread (OpenSSL asks for that); an eventfd wakes it when a frame is
ready.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from heliotrope.foundation.errors import Corrupt, HeliotropeError, InvalidInput, Unreachable
from heliotrope.native import Chunk, encode_parts

from . import wire
from .budget import Budget, Buffers, Limiter, Memory, Stop
from .connection import Connection
from .effort import Effort
from .handshake import as_catalogued
from .source import Source

BATCH_BYTES = 4 << 20
BATCH_COUNT = 64
READY_COUNT = 4  # frames that wait to be sent: a connection that stalls must not hold the memory of all
_FRAME_OVERHEAD_BYTES = 4096
_KEEPALIVE_S = 5.0
_TICK_S = 0.25
_OUTSTANDING_LIMIT = 1 << 16


@dataclass
class Shared:
    """What all connections of a server share: memory, processor time and the limit of the link."""

    budget: Budget
    gate: threading.BoundedSemaphore
    buffers: Buffers
    limiter: Limiter
    effort: Effort


@dataclass
class _Coded:
    """A frame in two parts; ``held`` is the buffer that the second one lies in, if it is the chunk's own."""

    index: int
    begin: bytes
    data: memoryview
    held: Memory | None

    @property
    def size_bytes(self) -> int:
        return len(self.begin) + self.data.nbytes


@dataclass
class _State:
    wanted: deque[tuple[int, int]] = field(default_factory=deque)
    ready: deque[_Coded] = field(default_factory=deque)
    unsent: int = 0
    error: HeliotropeError | None = None
    closed: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)


class Sender:
    """Serves one receiver over one connection until it says Bye."""

    def __init__(
        self,
        connection: Connection,
        source: Source,
        base: Source | None,
        shared: Shared,
        *,
        stop: Stop,
        sleep: Callable[[float], object],
        allow: Callable[[int], None],
        on_message: Callable[[wire.Renew | wire.Progress], None],
    ) -> None:
        """``allow`` is told the bytes about to be sent and raises Denied beyond the ticket's limit or deadline."""
        self._connection = connection
        self._source = source
        self._base = base
        self._shared = shared
        self._stop = stop
        self._sleep = sleep
        self._allow = allow
        self._on_message = on_message
        self._state = _State()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def run(self) -> None:
        """Serve. Raises what the coder, the connection or ``allow`` raise."""
        coder = threading.Thread(target=self._code, name="transfer-coder", daemon=True)
        coder.start()
        try:
            while self._send_ready() and self._take_message():
                pass
        finally:
            with self._state.changed:
                self._state.closed = True
                self._state.changed.notify_all()
            coder.join()
            for coded in self._state.ready:
                self._let_go(coded)
            os.close(self._wake)

    def _send_ready(self) -> bool:
        """Send one frame if one is ready; always True (the loop ends by Bye or by an error)."""
        with self._state.changed:
            if self._state.error is not None:
                raise self._state.error
            coded = self._state.ready.popleft() if self._state.ready else None
        if coded is not None:
            with self._state.changed:
                self._state.changed.notify_all()
            try:
                self._allow(coded.size_bytes)
                with self._shared.effort.sending():
                    self._connection.send_data(wire.FRAME, coded.index, coded.data, coded.begin)
                self._shared.limiter.spend(coded.size_bytes, self._sleep)
            finally:
                self._let_go(coded)
                self._state.unsent -= 1
        return True

    def _take_message(self) -> bool:
        """Read a message if there is one, waiting for it only when there is nothing to send; False after Bye."""
        if not self._connection.waiting():
            if self._state.ready or self._wait():
                return True
            if not self._connection.waiting():
                if self._state.unsent:
                    self._connection.send(wire.Wait())
                return True
        message = self._connection.receive()
        if isinstance(message, wire.Want):
            self._want(message)
        elif isinstance(message, wire.Renew | wire.Progress):
            self._on_message(message)
        elif not isinstance(message, wire.Bye):
            raise Corrupt(
                f"cannot serve: {type(message).__name__} is not what a receiver says now; upgrade the older agent"
            )
        return not isinstance(message, wire.Bye)

    def _wait(self) -> bool:
        """Wait until a frame is ready (True), or a message came or the keepalive time passed (False)."""
        for _ in range(int(_KEEPALIVE_S / _TICK_S)):
            if self._stop():
                raise Unreachable("cannot go on: this agent is stopping; it is tried again")
            found, _, _ = select.select([self._connection.stream.fileno(), self._wake], [], [], _TICK_S)
            if self._wake in found:
                os.eventfd_read(self._wake)
                return True
            if found:
                return False
        return False

    def _want(self, message: wire.Want) -> None:
        count = len(self._source.places)
        for index, base_index in message.chunks:
            # Without the base here any more, none of its chunks is used: the receiver may have asked before it knew.
            if index >= count or (self._base is not None and base_index >= len(self._base.places)):
                raise InvalidInput(
                    f"cannot serve chunk {index} on base {base_index}: the manifests end before; ask again"
                )
        with self._state.changed:
            self._state.wanted.extend(message.chunks)
            self._state.unsent += len(message.chunks)
            if self._state.unsent > _OUTSTANDING_LIMIT:
                raise InvalidInput(f"cannot serve: more than {_OUTSTANDING_LIMIT} chunks wanted at once; ask for fewer")
            self._state.changed.notify_all()

    def _code(self) -> None:
        """The coder thread: batches of wanted chunks become frames, as far as memory allows."""
        try:
            while batch := self._next_batch():
                cost_bytes = sum(self._size(index) + _FRAME_OVERHEAD_BYTES for index, _ in batch)
                if not self._shared.budget.take(cost_bytes, lambda: self._stop() or self._state.closed):
                    return
                try:
                    frames = self._encode(batch)
                except BaseException:
                    self._shared.budget.give(cost_bytes)  # it is the whole server's
                    raise
                self._give(frames, cost_bytes)
        except Exception as error:  # noqa: BLE001 - carried to the thread that serves, which reports it
            with self._state.changed:
                self._state.error = as_catalogued(error)
        os.eventfd_write(self._wake, 1)

    def _next_batch(self) -> list[tuple[int, int]]:
        """Wanted chunks of a few MiB together, at least one; empty when the connection is over."""
        state = self._state
        with state.changed:
            while not state.closed and (not state.wanted or len(state.ready) >= READY_COUNT):
                state.changed.wait(_TICK_S)
            batch: list[tuple[int, int]] = []
            size_bytes = 0
            while state.wanted and not state.closed and len(batch) < BATCH_COUNT:
                size_bytes += self._size(state.wanted[0][0])
                if batch and size_bytes > BATCH_BYTES:
                    break
                batch.append(state.wanted.popleft())
            return batch

    def _give(self, frames: list[_Coded], cost_bytes: int) -> None:
        spare_bytes = cost_bytes - sum(coded.size_bytes for coded in frames)
        self._shared.budget.give(spare_bytes)
        with self._state.changed:
            self._state.ready.extend(frames)
        os.eventfd_write(self._wake, 1)

    def _let_go(self, coded: _Coded) -> None:
        self._shared.budget.give(coded.size_bytes)
        if coded.held is not None:
            self._shared.buffers.give(coded.held)

    def _size(self, index: int) -> int:
        return self._source.places[index][1].size_bytes

    def _encode(self, batch: list[tuple[int, int]]) -> list[_Coded]:
        """Buffers of chunks that are stored whole stay taken: they are sent from where they were read to."""
        shared = self._shared
        spare: list[Memory] = []
        own: list[Memory] = []
        coded: list[_Coded] = []
        try:
            chunks = []
            for index, base_index in batch:
                buffer, data = shared.buffers.take(self._size(index))
                own.append(buffer)
                self._source.read_into(index, data)
                chunk = self._source.places[index][1]
                chunks.append(Chunk(data, chunk.width, chunk.floating, self._read_base(index, base_index, spare)))
            with shared.gate, shared.effort.coding() as level:
                frames = encode_parts(chunks, effort=level, threads=1)
            for (index, _), buffer, (begin, rest) in zip(batch, own, frames, strict=True):
                if rest:
                    coded.append(_Coded(index, begin, memoryview(rest), buffer))
                else:
                    coded.append(_Coded(index, b"", memoryview(begin), None))
            return coded
        finally:
            spare += own[len(coded) :]
            spare += [buffer for buffer, one in zip(own, coded, strict=False) if one.held is None]
            for buffer in spare:
                shared.buffers.give(buffer)

    def _read_base(self, index: int, base_index: int, held: list[Memory]) -> memoryview | None:
        """The base chunk's bytes, or None where there is none any more: the frame then says that it needs no base."""
        if base_index < 0 or self._base is None:
            return None
        size_bytes = self._base.places[base_index][1].size_bytes
        if size_bytes != self._size(index):
            raise InvalidInput(f"cannot code chunk {index} on base chunk {base_index}: their sizes differ; ask without")
        buffer, data = self._shared.buffers.take(size_bytes)
        held.append(buffer)
        try:
            self._base.read_into(base_index, data)
        except HeliotropeError:
            return None
        return data
