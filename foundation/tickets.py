"""Transfer tickets: what a coordinator lets two agents move between them, signed, so that agents need not ask.

A ticket is one version byte, 64 bytes of ECDSA-P256-SHA256 signature (r and s, big-endian) and a MessagePack map.
The signature covers a fixed label, the version and the map, so nothing signed for another purpose passes as a ticket.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from msgspec import Meta

from . import certificates
from .clock import Clock, SystemClock
from .errors import Denied, InvalidInput
from .identity import Identity, Name, Role, member_name

VERSION = 1
SIZE_LIMIT_BYTES = 4096  # checked before any parsing: a ticket comes from whoever connects

_LABEL = b"heliotrope transfer ticket"
_SIGNATURE_BYTES = 64
_SYSTEM_CLOCK = SystemClock()
_WHAT = "the ticket's signer"


class Ticket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One job's move: who sends to whom, for which epoch, how much at most and until when."""

    fleet: str
    job_id: str
    migration_id: str
    epoch: Annotated[int, Meta(ge=0)]
    source_node: str
    destination_node: str
    byte_limit: Annotated[int, Meta(ge=0)]
    expires_utc: Annotated[datetime, Meta(tz=True)]
    standstill: bool = False  # the job stands meanwhile: its nodes may let it pass their rate limits


def sign(ticket: Ticket, identity: Identity) -> bytes:
    """The ticket as bytes for the wire.

    Raises Denied (the identity is no coordinator's), InvalidInput (a field is wrong, the fleet is another's, too long).
    """
    if identity.name.role is not Role.COORDINATOR:
        raise Denied(f"cannot sign a ticket as {identity.name}: only a coordinator may; use its identity")
    if ticket.fleet != identity.name.fleet:
        raise InvalidInput(f"field fleet: {ticket.fleet!r} is not the signer's fleet {identity.name.fleet!r}")
    body = msgspec.msgpack.encode(ticket)
    try:
        msgspec.msgpack.decode(body, type=Ticket)  # construction checks no types: find out here, not at the agent
    except msgspec.DecodeError as error:
        raise InvalidInput(f"cannot sign a ticket: {error}; correct that field") from error
    key = certificates.parse_key(identity.key_pem, str(identity.key_path))
    r, s = utils.decode_dss_signature(key.sign(_signed(VERSION, body), ec.ECDSA(hashes.SHA256())))
    blob = bytes([VERSION]) + r.to_bytes(32, "big") + s.to_bytes(32, "big") + body
    if len(blob) > SIZE_LIMIT_BYTES:
        raise InvalidInput(f"cannot sign a ticket: {len(blob)} bytes, more than {SIZE_LIMIT_BYTES}; shorten its ids")
    return blob


def verify(blob: bytes, signer_certificate_pem: bytes, ca_pem: bytes, *, now_utc: datetime) -> Ticket:
    """The ticket in ``blob``, if it is genuine and not expired at ``now_utc`` (with zone). Raises Denied saying why."""
    name = _coordinator(signer_certificate_pem, ca_pem, now_utc)
    version, signature, body = _split(blob)
    key = certificates.public_key(certificates.parse(signer_certificate_pem, _WHAT), _WHAT)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        key.verify(utils.encode_dss_signature(r, s), _signed(version, body), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise Denied(
            f"cannot accept a ticket: it was not signed by {name} or was changed; ask for a new one"
        ) from error
    return _checked(body, name, now_utc)


class TicketVerifier:
    """Verifies tickets against one coordinator's certificate; the agent makes a new one when that is renewed.

    Raises Denied or InvalidInput on construction if the certificate could never vouch for a ticket.
    """

    def __init__(self, ca_pem: bytes, signer_certificate_pem: bytes, *, clock: Clock = _SYSTEM_CLOCK) -> None:
        self._ca_pem = ca_pem
        self._signer_certificate_pem = signer_certificate_pem
        self._clock = clock
        self.signer = _coordinator(signer_certificate_pem, ca_pem, clock.utc())

    def __call__(self, blob: bytes) -> Ticket:
        """The ticket in ``blob``. Raises Denied saying why not."""
        return verify(blob, self._signer_certificate_pem, self._ca_pem, now_utc=self._clock.utc())


def _signed(version: int, body: bytes) -> bytes:
    return _LABEL + bytes([0, version]) + body


def _coordinator(signer_certificate_pem: bytes, ca_pem: bytes, now_utc: datetime) -> Name:
    try:
        name = member_name(signer_certificate_pem, ca_pem, now_utc, _WHAT)
    except InvalidInput as error:
        raise Denied(f"cannot accept a ticket: {error}") from error
    if name.role is not Role.COORDINATOR:
        raise Denied(f"cannot accept a ticket: its signer {name} is no coordinator; ask the coordinator for one")
    return name


def _split(blob: bytes) -> tuple[int, bytes, bytes]:
    if not 1 + _SIGNATURE_BYTES < len(blob) <= SIZE_LIMIT_BYTES:
        raise Denied(f"cannot accept a ticket: {len(blob)} bytes is no ticket's length; ask for a new one")
    if blob[0] != VERSION:
        raise Denied(f"cannot accept a ticket: version {blob[0]}, this agent knows {VERSION}; upgrade the older side")
    return blob[0], bytes(blob[1 : 1 + _SIGNATURE_BYTES]), bytes(blob[1 + _SIGNATURE_BYTES :])


def _checked(body: bytes, signer: Name, now_utc: datetime) -> Ticket:
    try:
        ticket = msgspec.msgpack.decode(body, type=Ticket)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Denied(f"cannot accept a ticket: {error}; the coordinator speaks another version") from error
    if ticket.fleet != signer.fleet:
        raise Denied(f"cannot accept a ticket: it is for fleet {ticket.fleet}, its signer is of {signer.fleet}")
    if now_utc >= ticket.expires_utc:
        expired = ticket.expires_utc.astimezone(UTC).isoformat()
        raise Denied(f"cannot accept a ticket: it expired at {expired}; ask the coordinator to renew it")
    return ticket
