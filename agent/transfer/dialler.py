"""Makes greeted connections from the receiving end to a listening sender."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable

from heliotrope.foundation import tls
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.identity import Name
from heliotrope.foundation.peer import Peer

from .budget import Buffers, Limiter, Stop
from .connection import Connection
from .handshake import Address, Admit, VerifyTicket, anyone, check_ends, check_welcome, dial, hello, rtt_s
from .result import PullOptions

Speak = Callable[[Connection], None]


def _nothing(_connection: Connection) -> None:
    """To say nothing ahead."""


class Dialler:
    """Dials, checks who answers against the ticket, greets. Safe to use from several threads.

    ``finished`` is asked beside ``cancel`` whether to give up waiting; ``rtt_s``: least round trip
    time seen; ``on_rtt`` is told it as soon as TCP is connected; ``byte_limit``: what the newest ticket allows.
    """

    def __init__(
        self,
        address: Address,
        context: ssl.SSLContext,
        *,
        name: Name,
        ticket: Callable[[], bytes],
        verify_ticket: VerifyTicket,
        options: PullOptions,
        cancel: threading.Event,
        clock: Clock,
        admit: Admit = anyone,
    ) -> None:
        self.ticket = ticket
        self.buffers = Buffers()
        self.rtt_s = float("inf")
        self.on_rtt: Callable[[float], None] = lambda _rtt_s: None
        self.byte_limit = 0
        self.finished: Stop = lambda: False
        self._address = address
        self._context = context
        self._name = name
        self._verify_ticket = verify_ticket
        self._options = options
        self._cancel = cancel
        self._clock = clock
        self._admit = admit
        self._senders: dict[str, Peer] = {}  # by serial: a renewed certificate is another one
        self._lock = threading.Lock()
        self._limiter = options.limiter or Limiter(options.rate, clock)

    def __call__(self, speak: Speak = _nothing, connection: Connection | None = None) -> Connection:
        """A greeted connection, over which a manifest may be asked for. ``speak`` may send what comes next before the
        answer to the greeting is there, which saves a round trip; ``connection``: one of :meth:`connect`.
        Raises Unreachable, Denied, Incompatible.
        """
        connection = connection or self.connect()
        try:
            connection.send(hello("receive", self._checked_ticket(connection)))
            speak(connection)
            check_welcome(connection.receive())
        except BaseException:
            connection.close()
            raise
        return connection

    def connect(self) -> Connection:
        """A connection to the right sender, not greeted yet. Raises Unreachable, Denied."""
        stream = dial(self._address, self._context, self._options.socket, self._options.connect_s, self._measure)
        connection = Connection(
            stream,
            clock=self._clock,
            stop=lambda: self._cancel.is_set() or self.finished(),
            buffers=self.buffers,
            idle_s=self._options.idle_s,
            limiter=self._limiter,
        )
        try:
            sender = tls.peer(stream.certified())
            self._admit(sender)
            with self._lock:
                self._senders[sender.serial] = sender
            self._checked_ticket(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _measure(self, stream: socket.socket) -> None:
        self.rtt_s = min(self.rtt_s, rtt_s(stream))
        self.on_rtt(self.rtt_s)

    def _checked_ticket(self, connection: Connection) -> bytes:
        """The newest ticket, for exactly these two ends."""
        blob = self.ticket()
        ticket = self._verify_ticket(blob)
        check_ends(ticket, sender=tls.peer(connection.stream.certified()).name, receiver=self._name)
        self.byte_limit = ticket.byte_limit
        return blob

    def check_sender(self) -> None:
        """Raises Denied if the sender was revoked since it was dialled."""
        with self._lock:
            senders = list(self._senders.values())
        for sender in senders:
            self._admit(sender)
