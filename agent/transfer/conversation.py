"""One receiver's connection at the sending end, from Hello to Bye."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from heliotrope.agent.checkpoints import manifest as manifests
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Corrupt, Denied
from heliotrope.foundation.identity import Name
from heliotrope.foundation.peer import Peer
from heliotrope.foundation.tickets import Ticket

from . import wire
from .budget import Limiter
from .connection import Connection
from .handshake import Admit, VerifyTicket, check_ends, choose
from .sender import Sender, Shared
from .source import Source

M = TypeVar("M")
OpenSource = Callable[[Ticket, str], Source]
"""Opens the checkpoint a receiver refers to; raises NotFound, Denied. Called once per move and reference at a time."""
OpenBase = Callable[[Ticket, bytes], Source | None]
"""The checkpoint with that manifest digest if this node still has it pinned, to make deltas against."""
OnProgress = Callable[[Ticket, int, int], None]
"""Told (ticket, verified bytes, total bytes) as the receiver reports."""

_WAIT_S = 2.0


@dataclass
class Move:
    """A checkpoint that is being sent over any number of connections, opened once."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    source: Source | None = None


@dataclass
class Host:
    """What a server's conversations share. ``sent_bytes``: per migration, against the ticket's limit."""

    name: Name
    verify_ticket: VerifyTicket
    admit: Admit
    open_source: OpenSource
    open_base: OpenBase | None
    on_progress: OnProgress | None
    clock: Clock
    shared: Shared
    stopping: threading.Event
    idle_s: float
    standstill_exempt: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    moves: dict[tuple[str, str, str], Move] = field(default_factory=dict)
    sent_bytes: dict[str, int] = field(default_factory=dict)


class Conversation:
    """One connection from Hello to Bye."""

    def __init__(self, host: Host, connection: Connection, peer: Peer) -> None:
        self._host = host
        self._connection = connection
        self._peer = peer
        self._ticket: Ticket | None = None

    def run(self) -> None:
        connection, host = self._connection, self._host
        greeting = _expect(connection.receive(), wire.Hello)
        if greeting.role != "receive":
            raise Denied("cannot serve: this end sends only; dial as the receiver")
        ticket = self._admit(greeting.ticket)
        connection.send(choose(greeting))
        connection.idle_s = host.idle_s  # a stranger gets seconds, a known agent with a ticket may be slow
        request = _expect(connection.receive(), wire.ManifestRequest)
        key = (ticket.job_id, ticket.migration_id, request.reference)
        with host.lock:
            move = host.moves.setdefault(key, Move())
            move.users += 1
        base: Source | None = None
        try:
            source = self._open(move, ticket, request.reference)
            base = host.open_base(ticket, request.base) if request.base and host.open_base else None
            self._answer(source, base, request.have)
            Sender(
                connection,
                source,
                base,
                self._share(ticket),
                stop=host.stopping.is_set,
                sleep=host.stopping.wait,
                allow=self._allow,
                on_message=self._take,
            ).run()
        finally:
            if base is not None:
                base.close()
            with host.lock:
                move.users -= 1
                if move.users == 0:
                    host.moves.pop(key, None)
                    if move.source is not None:
                        move.source.close()

    def _share(self, ticket: Ticket) -> Shared:
        """With everybody's limit, or without one for a job that stands, where the node says so."""
        shared = self._host.shared
        if not (self._host.standstill_exempt and ticket.standstill):
            return shared
        return dataclasses.replace(shared, limiter=Limiter(None, self._host.clock))

    def _admit(self, blob: bytes) -> Ticket:
        self._host.admit(self._peer)
        ticket = self._host.verify_ticket(blob)
        check_ends(ticket, sender=self._host.name, receiver=self._peer.name)
        before = self._ticket
        if before and (before.job_id, before.migration_id) != (ticket.job_id, ticket.migration_id):
            raise Denied(
                f"cannot renew the ticket of move {before.migration_id} by one of {ticket.migration_id}; ask again"
            )
        self._ticket = ticket
        return ticket

    def _open(self, move: Move, ticket: Ticket, reference: str) -> Source:
        """The source, opened once for all connections; Wait messages keep this one alive meanwhile."""
        result: list[Source | Exception] = []

        def work() -> None:
            try:
                with move.lock:
                    if move.source is None:
                        move.source = self._host.open_source(ticket, reference)
                    result.append(move.source)
            except Exception as error:  # noqa: BLE001 - raised again below, in the connection's thread
                result.append(error)

        thread = threading.Thread(target=work, name="transfer-open", daemon=True)
        thread.start()
        thread.join(_WAIT_S)
        try:
            while thread.is_alive():
                self._connection.send(wire.Wait())
                thread.join(_WAIT_S)
        finally:
            thread.join()
        if isinstance(result[0], Exception):
            raise result[0]
        return result[0]

    def _answer(self, source: Source, base: Source | None, have: bytes) -> None:
        data = b"" if have == source.digest else manifests.encode(source.manifest)
        self._connection.send(wire.ManifestReply(source.digest, len(data), base is not None))
        for start in range(0, len(data), wire.PART_BYTES_LIMIT):
            self._connection.send_data(wire.PART, 0, memoryview(data)[start : start + wire.PART_BYTES_LIMIT])

    def _allow(self, size_bytes: int) -> None:
        """Count bytes of the move; raises Denied when the ticket is over or used up, or the receiver revoked."""
        ticket, host = self._ticket, self._host
        host.admit(self._peer)
        if ticket is None or ticket.expires_utc <= host.clock.utc():
            raise Denied("cannot send on: the ticket expired; renew it with the coordinator")
        with host.lock:
            total_bytes = host.sent_bytes.get(ticket.migration_id, 0) + size_bytes
            if total_bytes > ticket.byte_limit:
                raise Denied(
                    f"cannot send on for job {ticket.job_id}: the ticket allows {ticket.byte_limit} bytes; ask for more"
                )
            host.sent_bytes[ticket.migration_id] = total_bytes

    def _take(self, message: wire.Renew | wire.Progress) -> None:
        if isinstance(message, wire.Renew):
            self._admit(message.ticket)
        elif self._ticket is not None and self._host.on_progress is not None:
            self._host.on_progress(self._ticket, message.done_bytes, message.total_bytes)


def _expect(message: object, kind: type[M]) -> M:
    if not isinstance(message, kind):
        raise Corrupt(
            f"cannot serve: {type(message).__name__} came where {kind.__name__} must; upgrade the older agent"
        )
    return message
