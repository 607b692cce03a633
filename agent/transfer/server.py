"""The listening end: accepts agents that show a ticket and sends them the checkpoint they may have."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from heliotrope.foundation import tls
from heliotrope.foundation.clock import Clock, SystemClock
from heliotrope.foundation.errors import Unreachable
from heliotrope.foundation.identity import Name

from .budget import Budget, Buffers, Limiter, Rate
from .connection import Connection, SocketOptions
from .conversation import Conversation, Host, OnProgress, OpenBase, OpenSource
from .effort import Effort
from .handshake import Address, Admit, VerifyTicket, anyone, as_catalogued
from .sender import Shared
from .stream import TlsStream

_SYSTEM_CLOCK = SystemClock()
_HANDSHAKE_S = 10.0
_TICK_S = 0.25


@dataclass(frozen=True)
class ServerOptions:
    """Limits of a server. ``effort`` None adapts to the link; ``rate``: bytes per second over all connections,
    those whose ticket says that the job stands left out if ``standstill_exempt``.
    """

    memory_bytes: int = 256 << 20
    connection_limit: int = 128
    coder_count: int = os.cpu_count() or 1
    effort: int | None = None
    rate: Rate = None
    standstill_exempt: bool = False
    idle_s: float = 60.0
    socket: SocketOptions = field(default_factory=SocketOptions)


class TransferServer:
    """Sends checkpoints to agents that dial. ``name`` is this node's own; start() listens, stop() hangs up and
    waits.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        listen_address: Address,
        *,
        name: Name,
        verify_ticket: VerifyTicket,
        open_source: OpenSource,
        open_base: OpenBase | None = None,
        on_progress: OnProgress | None = None,
        admit: Admit = anyone,
        options: ServerOptions | None = None,
        clock: Clock = _SYSTEM_CLOCK,
    ) -> None:
        self._context = context
        self._listen_address = listen_address
        self._options = limits = options or ServerOptions()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._listener: socket.socket | None = None
        # Half for frames that wait to be sent; the other half is what coders read into and the kernel's buffers.
        shared = Shared(
            Budget(limits.memory_bytes // 2),
            threading.BoundedSemaphore(limits.coder_count),
            Buffers(),
            Limiter(limits.rate, clock),
            Effort(clock, coder_count=limits.coder_count, fixed=limits.effort),
        )
        self._host = Host(
            name,
            verify_ticket,
            admit,
            open_source,
            open_base,
            on_progress,
            clock,
            shared,
            self._stopping,
            limits.idle_s,
            limits.standstill_exempt,
        )

    @property
    def address(self) -> Address:
        """Where it listens (the port that the kernel chose for port 0)."""
        return self._listen_address

    @property
    def sent_bytes(self) -> int:
        """Chunks' bytes sent since the start, as tickets count them."""
        with self._host.lock:
            return sum(self._host.sent_bytes.values())

    @property
    def sending_count(self) -> int:
        """Checkpoints on their way to peers now."""
        with self._host.lock:
            return len(self._host.moves)

    def use(self, context: ssl.SSLContext) -> None:
        """Show another certificate from the next connection on; those that are open go on."""
        self._context = context

    def start(self) -> None:
        """Listen. Raises Unreachable when the address cannot be had."""
        try:
            family = socket.AF_INET6 if ":" in self._listen_address[0] else socket.AF_INET
            self._listener = socket.create_server(self._listen_address, family=family, backlog=64)
        except OSError as error:
            raise Unreachable(f"cannot listen on {self._listen_address}: {error.strerror}; free the port") from error
        self._listener.settimeout(_TICK_S)
        host, port = self._listener.getsockname()[:2]
        self._listen_address = (host, port)
        self._spawn(self._accept, self._listener)

    def stop(self) -> None:
        """Hang up everywhere; returns when all threads have ended."""
        self._stopping.set()
        while True:
            with self._lock:
                waiting = next(iter(self._threads), None)
            if waiting is None:
                break
            waiting.join()
        if self._listener is not None:
            self._listener.close()

    def _spawn(self, target: Callable[[socket.socket], None], stream: socket.socket) -> None:
        def run() -> None:
            try:
                target(stream)
            finally:
                with self._lock:
                    self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, name="transfer-server", daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                plain, _ = listener.accept()
            except OSError:
                continue  # nobody came within the tick, or hung up again, or no descriptor is free: the next may do
            with self._lock:
                full = len(self._threads) > self._options.connection_limit
            if full:
                plain.close()
            else:
                self._spawn(self._serve, plain)

    def _serve(self, plain: socket.socket) -> None:
        try:
            plain.settimeout(_HANDSHAKE_S)
            self._options.socket.apply(plain)
            stream = TlsStream(plain, self._context, server_side=True, clock=self._host.clock)
        except (OSError, ValueError):
            plain.close()  # not one of the fleet, or gone: TLS has told it
            return
        connection = Connection(
            stream,
            clock=self._host.clock,
            stop=self._stopping.is_set,
            buffers=self._host.shared.buffers,
            idle_s=_HANDSHAKE_S,
            limiter=Limiter(None, self._host.clock),
        )
        try:
            Conversation(self._host, connection, tls.peer(stream.certified())).run()
        except Exception as error:  # noqa: BLE001 - whatever it is, the receiver is told and acts on it
            connection.fail(as_catalogued(error))
        finally:
            connection.close()
