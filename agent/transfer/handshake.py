"""How two agents meet: TLS, then a Hello with a ticket, then the checks that both ends make on both names."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable

from heliotrope.foundation.errors import Denied, HeliotropeError, Incompatible, Unreachable
from heliotrope.foundation.identity import Name, Role
from heliotrope.foundation.peer import Peer
from heliotrope.foundation.tickets import Ticket
from heliotrope.native import CODEC_VERSIONS, FRAME_VERSION

from . import wire
from .connection import SocketOptions
from .stream import TlsStream

Address = tuple[str, int]
VerifyTicket = Callable[[bytes], Ticket]
"""Checks a ticket's signature and expiry and gives its content; raises Denied. ``TicketVerifier`` is one."""

Admit = Callable[[Peer], None]
"""Raises Denied for a far end whose certificate was revoked; asked when it connects, and again as bytes flow."""


def anyone(_peer: Peer) -> None:
    """Every member of the fleet: nothing is revoked."""


_RTT_OFFSET = 68  # tcpi_rtt in struct tcp_info (linux/tcp.h), microseconds


def dial(
    address: Address,
    context: ssl.SSLContext,
    options: SocketOptions,
    timeout_s: float,
    on_connected: Callable[[socket.socket], None],
) -> TlsStream:
    """Connect, tell ``on_connected``, and shake hands. Raises Unreachable (worth trying again) or Denied (the
    certificates do not fit).
    """
    where = f"{address[0]}:{address[1]}"
    try:
        plain = socket.create_connection(address, timeout=timeout_s)
    except OSError as error:
        raise Unreachable(
            f"cannot connect to {where}: {error}; check the address, the agent and the firewall"
        ) from error
    try:
        options.apply(plain)
        on_connected(plain)
        return TlsStream(plain, context)
    except ssl.SSLCertVerificationError as error:
        plain.close()
        raise Denied(f"cannot trust {where}: {error.verify_message}; check both agents' certificates") from error
    except OSError as error:
        plain.close()
        raise Unreachable(f"cannot talk to {where}: {error}; it is tried again") from error


def rtt_s(stream: socket.socket) -> float:
    """The kernel's smoothed round trip time of a connection."""
    info = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    if len(info) < _RTT_OFFSET + 4:
        return 0.0
    (rtt_us,) = struct.unpack_from("=I", info, _RTT_OFFSET)
    return float(rtt_us) / 1e6


def hello(role: wire.Role, ticket: bytes) -> wire.Hello:
    """The dialler's first word."""
    return wire.Hello((wire.PROTOCOL_VERSION,), (FRAME_VERSION,), tuple(CODEC_VERSIONS), role, ticket)


def choose(greeting: wire.Hello) -> wire.Welcome:
    """The listener's answer. Raises Incompatible when there is no common version, naming which."""
    if wire.PROTOCOL_VERSION not in greeting.protocols:
        raise _incompatible("protocol", greeting.protocols, wire.PROTOCOL_VERSION)
    if FRAME_VERSION not in greeting.frames:
        raise _incompatible("frame", greeting.frames, FRAME_VERSION)
    if not set(greeting.codecs) & set(CODEC_VERSIONS):
        raise _incompatible("codec", greeting.codecs, max(CODEC_VERSIONS))
    return wire.Welcome(wire.PROTOCOL_VERSION, FRAME_VERSION)


def check_welcome(answer: object) -> None:
    """Raises Incompatible unless the listener chose versions of ours."""
    if not isinstance(answer, wire.Welcome):
        raise Incompatible("cannot transfer: the other agent did not greet; upgrade the older one")
    if (answer.protocol, answer.frame) != (wire.PROTOCOL_VERSION, FRAME_VERSION):
        raise _incompatible("protocol and frame", (answer.protocol, answer.frame), wire.PROTOCOL_VERSION)


def check_ends(ticket: Ticket, *, sender: Name, receiver: Name) -> None:
    """Raises Denied unless the ticket is for exactly these two nodes."""
    for field, allowed, name in (
        ("source_node", ticket.source_node, sender),
        ("destination_node", ticket.destination_node, receiver),
    ):
        if (name.fleet, name.role, name.id) != (ticket.fleet, Role.AGENT, allowed):
            raise Denied(
                f"cannot transfer for job {ticket.job_id}: the ticket's {field} is {allowed} of {ticket.fleet}, this "
                "end is "
                f"{name}; ask the coordinator for a ticket for these nodes"
            )


def as_catalogued(error: Exception) -> HeliotropeError:
    """Any error of a connection as one of the catalogue, for the Failure message and the log."""
    return error if isinstance(error, HeliotropeError) else HeliotropeError(f"cannot transfer: {error!r}; see the log")


def _incompatible(what: str, theirs: tuple[int, ...], ours: int) -> Incompatible:
    return Incompatible(f"cannot transfer: {what} versions {list(theirs)} there, {ours} here; upgrade the older agent")
