"""Meeting a member of the fleet as a daemon would: TCP, TLS 1.3 with both certificates, its name, its first words.

Nothing is asked for and no session is opened: a second session of a node would close the one that its agent has.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from heliotrope.foundation import tls
from heliotrope.foundation.errors import Denied
from heliotrope.foundation.identity import Identity, Name

TIMEOUT_S = 5.0
QUIET_S = 0.5  # how long a far end that waits for our first word is given to refuse our certificate
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # and empty settings
_SETTINGS = 4
_VERIFY_TIME = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


@dataclass(frozen=True)
class Met:
    """How far it went: ``failed`` is the step that did not work (resolve, tcp, tls, name, accept), empty if all did."""

    address: str = ""
    connect_s: float = 0.0
    name: Name | None = None
    not_before_utc: datetime | None = None
    not_after_utc: datetime | None = None
    failed: str = ""
    cause: str = ""
    is_about_time: bool = False


def meet(host: str, port: int, identity: Identity, *, http2: bool, timeout_s: float = TIMEOUT_S) -> Met:
    """Dial every address of the host in turn until one answers; the last failure if none does."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as cause:
        return Met(failed="resolve", cause=str(cause))
    met = Met(failed="resolve", cause="no address")
    for address in dict.fromkeys(str(one[4][0]) for one in found):
        met = _meet_at(address, port, identity, http2, timeout_s)
        if not met.failed:
            break
    return met


def _meet_at(address: str, port: int, identity: Identity, http2: bool, timeout_s: float) -> Met:
    begun_s = time.monotonic()
    try:
        plain = socket.create_connection((address, port), timeout=timeout_s)
    except OSError as cause:
        return Met(address=address, failed="tcp", cause=cause.strerror or str(cause))
    connect_s = time.monotonic() - begun_s
    context = tls.client_context(identity)
    if http2:
        context.set_alpn_protocols(["h2"])
    with plain:
        try:
            stream = context.wrap_socket(plain)
        except ssl.SSLCertVerificationError as cause:
            about_time = cause.verify_code in _VERIFY_TIME
            text = cause.verify_message
            return Met(address=address, connect_s=connect_s, failed="tls", cause=text, is_about_time=about_time)
        except OSError as cause:
            return Met(address=address, connect_s=connect_s, failed="tls", cause=str(cause))
        with stream:
            return _greet(stream, Met(address=address, connect_s=connect_s), http2)


def _greet(stream: ssl.SSLSocket, met: Met, http2: bool) -> Met:
    begin, end = _validity(stream)
    try:
        name = tls.peer_name(stream)
    except Denied as cause:
        return Met(address=met.address, connect_s=met.connect_s, failed="name", cause=str(cause))
    refused = _refusal(stream, http2)
    return Met(
        address=met.address,
        connect_s=met.connect_s,
        name=name,
        not_before_utc=begin,
        not_after_utc=end,
        failed="accept" if refused else "",
        cause=refused,
    )


def _validity(stream: ssl.SSLSocket) -> tuple[datetime | None, datetime | None]:
    shown = stream.getpeercert() or {}
    times = (shown.get("notBefore"), shown.get("notAfter"))
    begin, end = (
        datetime.fromtimestamp(ssl.cert_time_to_seconds(one), UTC) if isinstance(one, str) else None for one in times
    )
    return begin, end


def _refusal(stream: ssl.SSLSocket, http2: bool) -> str:
    """In TLS 1.3 the far end judges our certificate after our handshake is over: its first words tell."""
    try:
        if not http2:
            stream.settimeout(QUIET_S)
            with contextlib.suppress(TimeoutError):
                return "" if stream.recv(1) else "the far end hung up after the handshake"
            return ""
        stream.sendall(_HTTP2_PREFACE)
        head = stream.recv(9)
    except OSError as cause:
        return str(cause)
    if len(head) == 9 and head[3] == _SETTINGS:
        return ""
    return "the far end does not speak HTTP/2: nothing of Heliotrope's listens there"
