"""The data path without TLS, for one purpose: to measure what TLS costs. No configuration leads here.

:class:`PlainContext` stands where an agent has its ``ssl.SSLContext``, and gives objects that move bytes between the
same two memory buffers without encrypting them. Everything else, handshake of agents and tickets included, stays.
"""

from __future__ import annotations

import ssl
from typing import cast

from heliotrope.foundation.identity import Identity


class _PlainObject:
    """What ``TlsStream`` asks of an ``ssl.SSLObject``; the far end's certificate is the one it is told."""

    def __init__(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, certificate_der: bytes) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._certificate_der = certificate_der

    def do_handshake(self) -> None:
        """Nothing to agree on."""

    def read(self, size_bytes: int, buffer: memoryview) -> int:
        data = self._incoming.read(size_bytes)
        if not data and not self._incoming.eof:
            raise ssl.SSLWantReadError
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: memoryview) -> int:
        return self._outgoing.write(data)

    def pending(self) -> int:
        return 0

    def getpeercert(self, binary_form: bool = False) -> bytes:
        return self._certificate_der


class PlainContext:
    """Claims that whoever answers is ``peer``."""

    def __init__(self, peer: Identity) -> None:
        self._certificate_der = ssl.PEM_cert_to_DER_cert(peer.certificate_pem.decode("ascii"))

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
    ) -> _PlainObject:
        return _PlainObject(incoming, outgoing, self._certificate_der)


def context(peer: Identity) -> ssl.SSLContext:
    """For ``pull`` and ``TransferServer``, which are typed for the real thing."""
    return cast(ssl.SSLContext, PlainContext(peer))
