"""Mutual TLS for sockets (transfers between agents) and for gRPC (sessions and operators), and who is at the far end.

Host names are not checked anywhere: a node's identity is the URI in its certificate, and agents are dialled at whatever
address works. So a handshake alone says "some member of this fleet"; whoever needs more asks :func:`peer_name`
with ``expected``. gRPC's Python TLS insists on a host name: it is told to expect the one that the authority
puts into coordinators' certificates only, so a gRPC client cannot be answered by anything but a coordinator.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

import grpc
import grpc.aio
from cryptography import x509

from . import certificates
from .authority import COORDINATOR_HOST
from .errors import Denied, InvalidInput
from .identity import Identity, Name
from .peer import Peer

Options = Sequence[tuple[str, str | int]]

# A dead peer is noticed in 30 s, well inside a lease, also behind a NAT that forgets idle connections after a minute.
CHANNEL_OPTIONS: Options = (
    ("grpc.ssl_target_name_override", COORDINATOR_HOST),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 10_000),
)
# The server must allow what the clients do (by default it hangs up on pings more often than every five minutes), and
# a second coordinator on the port must fail to start instead of getting half of the connections.
SERVER_OPTIONS: Options = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.so_reuseport", 0),
)


def server_context(identity: Identity) -> ssl.SSLContext:
    """A context that accepts members of the identity's fleet only. Raises InvalidInput for unusable files."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, identity)
    context.num_tickets = 0  # every connection shows its certificate, so that a revoked one cannot resume a session
    return context


def client_context(identity: Identity) -> ssl.SSLContext:
    """A context that talks to members of the identity's fleet only. Raises InvalidInput for unusable files."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, identity)


def _context(protocol: int, identity: Identity) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    try:
        context.load_verify_locations(cadata=identity.ca_pem.decode("ascii"))
        context.load_cert_chain(identity.certificate_path, identity.key_path)
    except (ssl.SSLError, OSError, UnicodeDecodeError) as error:
        folder = identity.certificate_path.parent
        raise InvalidInput(f"cannot use the identity in {folder}: {error}; have it issued again") from error
    return context


def peer_name(connection: ssl.SSLSocket | ssl.SSLObject, *, expected: Name | None = None) -> Name:
    """The far end's name after the handshake. Raises Denied if it has none or is not ``expected``."""
    try:
        certificate = connection.getpeercert()
    except ValueError as error:
        raise Denied("cannot name the far end: the TLS handshake is not done; finish it first") from error
    if not certificate:
        raise Denied("cannot accept a connection: the far end showed no certificate; connect with a fleet's identity")
    entries = certificate.get("subjectAltName", ())
    uris = [str(entry[1]) for entry in entries if isinstance(entry, tuple) and entry[0] == "URI"]
    return _name_among(uris, expected)


class _Authenticated(Protocol):
    """The part of a ServicerContext (plain or aio) that knows the peer."""

    def auth_context(self) -> Mapping[str, Any]: ...


def peer_name_from_context(context: _Authenticated, *, expected: Name | None = None) -> Name:
    """The caller's name, from a gRPC servicer's context. Raises Denied if it has none or is not ``expected``.

    gRPC gives all kinds of alternative names in one list of bytes. A host name cannot pose as an identity there:
    the authority signs no host name with a colon or slash in it.
    """
    values: Iterable[bytes] = context.auth_context().get("x509_subject_alternative_name", ())
    return _name_among([value.decode("utf-8", "replace") for value in values], expected)


def _name_among(texts: Iterable[str], expected: Name | None) -> Name:
    uris = [text for text in texts if text.startswith(certificates.SCHEME)]
    if len(uris) != 1:
        raise Denied(f"cannot accept a connection: its certificate carries {len(uris)} {certificates.SCHEME} names")
    try:
        name = Name.parse(uris[0])
    except InvalidInput as error:
        raise Denied(f"cannot accept a connection: {error}") from error
    if expected is not None and name != expected:
        raise Denied(f"cannot accept a connection: expected {expected}, met {name}; check the address")
    return name


def peer(connection: ssl.SSLSocket | ssl.SSLObject) -> Peer:
    """The far end with its certificate's serial, after the handshake. Raises Denied if it shows no member's."""
    try:
        der = connection.getpeercert(binary_form=True)
    except ValueError as error:
        raise Denied("cannot name the far end: the TLS handshake is not done; finish it first") from error
    if not der:
        raise Denied("cannot accept a connection: the far end showed no certificate; connect with a fleet's identity")
    return Peer.of(x509.load_der_x509_certificate(der))


def peer_from_context(context: _Authenticated) -> Peer:
    """As :func:`peer`, from a gRPC servicer's context (plain or aio)."""
    (pem, *_) = context.auth_context().get("x509_pem_cert", (b"",))
    if not pem:
        raise Denied("cannot accept a connection: the far end showed no certificate; connect with a fleet's identity")
    return Peer.of(x509.load_pem_x509_certificate(pem))


def grpc_server_credentials(own: Identity | Callable[[], Identity]) -> grpc.ServerCredentials:
    """Credentials that demand a certificate of the identity's fleet from every caller; use with SERVER_OPTIONS.

    A function is asked at every handshake, from threads of gRPC's, so that a renewed identity needs no restart. Only a
    changed one is handed over: gRPC builds everything anew for each, and crashes if a connection breaks meanwhile.
    """
    lock = threading.Lock()
    shown = [own if isinstance(own, Identity) else own()]

    def changed() -> grpc.ServerCertificateConfiguration | None:
        identity = own if isinstance(own, Identity) else own()
        with lock:
            if identity.certificate_pem == shown[0].certificate_pem:
                return None
            shown[0] = identity
        return _server_configuration(identity)

    # None says "unchanged" (grpc's documentation of the function); its stubs do not know.
    fetch = cast(Callable[[], grpc.ServerCertificateConfiguration], changed)
    return grpc.dynamic_ssl_server_credentials(
        _server_configuration(shown[0]), fetch, require_client_authentication=True
    )


def _server_configuration(identity: Identity) -> grpc.ServerCertificateConfiguration:
    pair = (identity.key_pem, identity.certificate_pem)
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=identity.ca_pem)


def grpc_channel(address: str, identity: Identity, options: Options = ()) -> grpc.Channel:
    """A channel to a coordinator at ``host:port``, connecting when first used; ``options`` override CHANNEL_OPTIONS."""
    return grpc.secure_channel(address, _channel_credentials(identity), _merged(options))


def grpc_aio_channel(address: str, identity: Identity, options: Options = ()) -> grpc.aio.Channel:
    """As :func:`grpc_channel`, for asyncio."""
    return grpc.aio.secure_channel(address, _channel_credentials(identity), _merged(options))


def _channel_credentials(identity: Identity) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=identity.ca_pem, private_key=identity.key_pem, certificate_chain=identity.certificate_pem
    )


def _merged(options: Options) -> list[tuple[str, str | int]]:
    return list({**dict(CHANNEL_OPTIONS), **dict(options)}.items())
