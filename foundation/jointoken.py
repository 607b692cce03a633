"""Join tokens: a short-lived identity of the role joiner, packed into a line of text that an operator gives a node.

It holds the fleet's authority certificate (so the node trusts no other fleet), a certificate that may only enrol one
node, and its key. Whoever has the text can join as that node until it is used or expires: treat it like a password.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from . import certificates, signing_request
from .authority import Credentials
from .errors import Denied, InvalidInput
from .identity import Identity, Name, Role, member_name

PREFIX = "hjt1."  # "heliotrope join token", version 1
SIZE_LIMIT_BYTES = 16_384

_CHECK_BYTES = 6
_WHAT = "the join token"


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    """DER throughout; ``site`` may be empty."""

    ca: bytes
    certificate: bytes
    key: bytes
    site: str = ""


@dataclass(frozen=True, slots=True)
class JoinToken:
    """What a token says; ``identity`` is what a node shows to enrol (its paths are no files)."""

    name: Name  # the node's, as it will be
    site: str
    expires_utc: datetime
    identity: Identity = field(repr=False)


def pack(made: Credentials, site: str = "") -> str:
    """The text of a token. ``made``: a joiner's, from :meth:`Authority.issue_joiner`."""
    key = certificates.parse_key(made.key_pem, _WHAT)
    packed = _Packed(
        ca=_der(made.ca_pem),
        certificate=_der(made.certificate_pem),
        key=key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        site=site,
    )
    body = msgspec.msgpack.encode(packed)
    return PREFIX + base64.urlsafe_b64encode(_check(body) + body).decode("ascii").rstrip("=")


def unpack(text: str, *, now_utc: datetime) -> JoinToken:
    """The token in ``text``, good at ``now_utc``.

    Raises InvalidInput (no token, or cut or changed on its way), Denied (expired, or this machine's clock is wrong).
    """
    packed = _unpacked(text.strip())
    try:
        authority, certificate = (x509.load_der_x509_certificate(der) for der in (packed.ca, packed.certificate))
        key = serialization.load_der_private_key(packed.key, password=None)
        pems = [each.public_bytes(serialization.Encoding.PEM) for each in (authority, certificate)]
        key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    except (ValueError, TypeError) as error:
        raise _damaged() from error
    own = certificates.parse_key(key_pem, _WHAT)
    if signing_request.key_digest(own.public_key()) != signing_request.key_digest(
        certificates.public_key(certificate, _WHAT)
    ):
        raise _damaged()
    try:
        name = member_name(pems[1], pems[0], now_utc, _WHAT)
    except Denied as error:
        raise Denied(f"{error}; a new token: heliotrope ca join-token") from error
    if name.role is not Role.JOINER:
        raise InvalidInput(
            f"cannot join with {name}: that is no join token's certificate; use heliotrope ca join-token"
        )
    nowhere = Path("join-token")
    return JoinToken(
        name=Name(name.fleet, Role.AGENT, name.id),
        site=packed.site,
        expires_utc=certificate.not_valid_after_utc,
        identity=Identity(
            name=name,
            ca_path=nowhere,
            certificate_path=nowhere,
            key_path=nowhere,
            ca_pem=pems[0],
            certificate_pem=pems[1],
            key_pem=key_pem,
            issued_utc=certificates.issued_utc(certificate),
            expires_utc=min(certificate.not_valid_after_utc, authority.not_valid_after_utc),
        ),
    )


def _unpacked(text: str) -> _Packed:
    if not text.startswith(PREFIX) or len(text) > SIZE_LIMIT_BYTES:
        raise InvalidInput(
            f"cannot read the join token: it does not begin with {PREFIX}; give what `ca join-token` wrote"
        )
    encoded = text.removeprefix(PREFIX)
    try:
        blob = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        check, body = blob[:_CHECK_BYTES], blob[_CHECK_BYTES:]
        if check != _check(body):
            raise _damaged()
        return msgspec.msgpack.decode(body, type=_Packed)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise _damaged() from error


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECK_BYTES]


def _der(pem: bytes) -> bytes:
    return certificates.parse(pem, _WHAT).public_bytes(serialization.Encoding.DER)


def _damaged() -> InvalidInput:
    return InvalidInput("cannot read the join token: it was cut or changed on its way; copy the whole line again")
