"""One TLS connection that carries messages. Used by one thread: OpenSSL allows no reading and writing at the same
time.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Corrupt, DeadlineExceeded, HeliotropeError, InvalidInput, Unreachable, by_name

from . import wire
from .budget import Buffers, Limiter, Memory, Stop
from .stream import TlsStream

_SLICE_BYTES = 64 << 10
_TICK_S = 0.25
_LINGER_S = 1.0


@dataclass(frozen=True)
class SocketOptions:
    """TCP settings. ``buffer_bytes`` None leaves the kernel's autotuning on (a fixed size turns it off);
    ``congestion`` None leaves the host's congestion control.
    """

    buffer_bytes: int | None = None
    congestion: str | None = None
    keepalive_s: int = 10
    dead_after_s: int = 30

    def check(self) -> None:
        """Raises InvalidInput for a congestion control that this process may not choose."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
            try:
                self.apply(stream)
            except OSError as error:
                raise InvalidInput(
                    f"field transfer.congestion: {self.congestion!r} cannot be had: {error.strerror}; load its module "
                    "and name it in the sysctl net.ipv4.tcp_allowed_congestion_control, or leave the field out"
                ) from error

    def apply(self, stream: socket.socket) -> None:
        """Set them. Raises OSError for a congestion control that the kernel does not have."""
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, self.keepalive_s)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, self.keepalive_s)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, max(1, self.dead_after_s // self.keepalive_s))
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self.dead_after_s * 1000)
        if self.buffer_bytes is not None:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.buffer_bytes)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.buffer_bytes)
        if self.congestion is not None:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, self.congestion.encode())


@dataclass(frozen=True)
class Received:
    """A FRAME or PART as it came: ``data`` is a view of ``buffer``, which goes back to the pool after use."""

    kind: int
    index: int
    buffer: Memory
    data: memoryview


class Connection:
    """Messages over an established TLS stream, with limits, counting and an idle deadline.

    Every call raises Unreachable when the far end is gone, DeadlineExceeded when ``idle_s`` pass without a byte or
    ``stop`` says so, Corrupt for bytes that are no message, and what the far end reports in a Failure.
    """

    def __init__(
        self, stream: TlsStream, *, clock: Clock, stop: Stop, buffers: Buffers, idle_s: float, limiter: Limiter
    ) -> None:
        self.stream = stream
        self.sent_bytes = 0
        self.received_bytes = 0
        self.on_received: Callable[[], None] = lambda: None  # called as bytes come, also in the middle of a message
        self._clock = clock
        self._stop = stop
        self._buffers = buffers
        self.idle_s = idle_s
        self._limiter = limiter
        stream.settimeout(_TICK_S)

    def send(self, message: wire.Message) -> None:
        """Send a control message."""
        self._write(memoryview(wire.encode(message)))

    def send_data(self, kind: int, index: int, data: memoryview, begin: bytes = b"") -> None:
        """Send a FRAME or PART: ``begin`` and ``data`` as one message."""
        head = wire.HEADER.pack(kind, len(begin) + data.nbytes, index)
        if len(begin) + data.nbytes <= _SLICE_BYTES // 4:
            self._write(memoryview(head + begin + data))  # one record, one packet
        else:
            self._push(memoryview(head + begin))  # goes with the first piece: no packet of its own
            self.sent_bytes += len(head) + len(begin)
            self._write(data)

    def receive(self) -> wire.Message | Received:
        """The next message; a Failure is raised as the error that it names."""
        head = bytearray(wire.HEADER.size)
        self._read(memoryview(head))
        kind, length, index = wire.HEADER.unpack(head)
        if length > wire.LIMITS.get(kind, -1):
            raise Corrupt(
                f"cannot read a message: kind {kind} with {length} bytes is not allowed; is it another program?"
            )
        buffer, view = self._buffers.take(length)
        self._read(view)
        if kind != wire.CONTROL:
            return Received(kind, index, buffer, view)
        try:
            message = wire.decode(view)
        except msgspec.DecodeError as error:
            raise Corrupt(f"cannot read a message: {error}; the other agent speaks another version") from error
        if isinstance(message, wire.Failure):
            raise by_name(message.kind)(message.text)
        return message

    def waiting(self) -> bool:
        """Whether bytes have come that were not read yet."""
        return self.stream.pending() > 0 or bool(select.select([self.stream], [], [], 0)[0])

    def fail(self, error: HeliotropeError) -> None:
        """Tell the far end why, if it still listens."""
        with contextlib.suppress(HeliotropeError):  # it may have hung up first: then there is nobody to tell
            self.send(wire.Failure(type(error).__name__, str(error)[:4000]))
            self.stream.linger(_LINGER_S)

    def close(self) -> None:
        """Hang up without waiting for the far end's goodbye."""
        self.stream.close()

    def _write(self, data: memoryview) -> None:
        start, idle = 0, _Idle(self._clock, self.idle_s, self._stop)
        while start < len(data):
            piece = data[start : start + _SLICE_BYTES]
            left_bytes = self._push(piece)
            start += len(piece)
            while left_bytes:
                try:
                    left_bytes = self.stream.flush()
                except TimeoutError:
                    idle.check(start - left_bytes)
                except (OSError, ValueError) as error:
                    raise _gone(error) from error
            self.sent_bytes += len(piece)

    def _push(self, data: memoryview) -> int:
        try:
            return self.stream.push(data)
        except (OSError, ValueError) as error:
            raise _gone(error) from error

    def _read(self, view: memoryview) -> None:
        start = spent = 0
        idle = _Idle(self._clock, self.idle_s, self._stop)
        while start < len(view):
            try:
                count = self.stream.recv_into(view[start:])
            except TimeoutError:
                idle.check(start)
                continue
            except (OSError, ValueError) as error:
                raise _gone(error) from error
            if count == 0:
                raise Unreachable("cannot go on: the far end closed the connection; it is tried again")
            start += count
            if start - spent >= _SLICE_BYTES or start == len(view):
                self.received_bytes += start - spent
                self.on_received()
                self._limiter.spend(start - spent, self._sleep)
                spent = start

    def _sleep(self, wait_s: float) -> None:
        end_s = self._clock.monotonic_s() + wait_s
        while (left_s := end_s - self._clock.monotonic_s()) > 0 and not self._stop():
            select.select([], [], [], min(left_s, _TICK_S))


class _Idle:
    """Notices that a whole idle time passed without progress; asked only when a wait of a tick ended with nothing."""

    def __init__(self, clock: Clock, idle_s: float, stop: Stop) -> None:
        self._clock = clock
        self._idle_s = idle_s
        self._stop = stop
        self._position = -1
        self._since_s = 0.0

    def check(self, position: int) -> None:
        if self._stop():
            raise DeadlineExceeded("cannot go on: this end is stopping; start again later")
        if position != self._position:
            self._position, self._since_s = position, self._clock.monotonic_s()
        elif self._clock.monotonic_s() - self._since_s > self._idle_s:
            raise Unreachable(f"cannot go on: nothing moved for {self._idle_s:g} s; check the link and the other agent")


def _gone(error: Exception) -> HeliotropeError:
    return Unreachable(f"cannot go on: {error or type(error).__name__}; it is tried again")
