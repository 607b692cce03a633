"""Connections that break at any point of the handshake, whoever made them, leave the coordinator be."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fleet_driver import two_nodes

from heliotrope.cli.demo.fleet import COORDINATOR, LocalFleet
from heliotrope.foundation import identity

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() resets the connection


def break_off(fleet: LocalFleet, context: ssl.SSLContext, stage: int) -> None:
    """0: at once; 1: in the hello; 2: after it; 3: with the handshake done; 4: after HTTP/2's first words."""
    host, _, port = fleet.address.rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=5) as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = outgoing.read()
        plain.sendall(hello[: (0, len(hello) // 2, len(hello))[min(stage, 2)]])
        if stage < 3:
            return
        while True:
            incoming.write(plain.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                break
        if stage == 4:
            tls.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        plain.sendall(outgoing.read())


def test_the_coordinator_survives_connections_that_break(folder: Path) -> None:
    with two_nodes(folder) as fleet:
        fleet.start(COORDINATOR)
        member = identity.load(folder / "identities" / "a")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=member.ca_pem.decode())
        context.load_cert_chain(member.certificate_path, member.key_path)
        context.set_alpn_protocols(["h2"])
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(lambda number: break_off(fleet, context, number % 5), range(3000)))
        assert fleet.running(COORDINATOR), fleet.tail(COORDINATOR)
        fleet.start("a")  # and it still lets in whom it should
