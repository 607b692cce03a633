"""Makes greeted connections from the receiving end to a listening sender."""

from __future__ import annotations

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


class Dialler:
    """Dials, checks who answers against the ticket, greets. Safe to use from several threads.

    ``finished`` is asked beside ``cancel`` whether to give up waiting; ``rtt_s``: least round trip
    time seen; ``byte_limit``: what the newest ticket allows.
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
        self._sender: Peer | None = None
        self._limiter = options.limiter or Limiter(options.rate, clock)

    def __call__(self) -> Connection:
        """A connection over which a manifest may be asked for. Raises Unreachable, Denied, Incompatible."""
        blob = self.ticket()
        ticket = self._verify_ticket(blob)
        stream = dial(self._address, self._context, self._options.socket, self._options.connect_s)
        connection = Connection(
            stream,
            clock=self._clock,
            stop=lambda: self._cancel.is_set() or self.finished(),
            buffers=self.buffers,
            idle_s=self._options.idle_s,
            limiter=self._limiter,
        )
        try:
            self._sender = tls.peer(stream.certified())
            self.check_sender()
            check_ends(ticket, sender=self._sender.name, receiver=self._name)
            self.rtt_s = min(self.rtt_s, rtt_s(stream))
            self.byte_limit = ticket.byte_limit
            connection.send(hello("receive", blob))
            check_welcome(connection.receive())
        except BaseException:
            connection.close()
            raise
        return connection

    def check_sender(self) -> None:
        """Raises Denied if the sender was revoked since it was dialled."""
        if self._sender is not None:
            self._admit(self._sender)
