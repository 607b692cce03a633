"""Joining a fleet: a join token becomes this machine's identity. The private key is made here and stays here."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import grpc

from heliotrope.foundation import authority, certificates, identity, records, signing_request, tls
from heliotrope.foundation.clock import Clock, SystemClock
from heliotrope.foundation.errors import (
    Conflict,
    Denied,
    HeliotropeError,
    Incompatible,
    OutOfSpace,
    Unreachable,
    by_name,
)
from heliotrope.foundation.identity import Identity
from heliotrope.foundation.jointoken import JoinToken
from heliotrope.v1 import identity_pb2 as pb
from heliotrope.v1 import identity_pb2_grpc

from .link import ERROR_KIND, OPTIONS

CALL_TIMEOUT_S = 30.0

_HANDSHAKE = re.compile(r"handshake|SSL|TSI_|certificate|Peer name", re.IGNORECASE)
_SYSTEM_CLOCK = SystemClock()


def join(
    token: JoinToken, coordinator: str, folder: Path, *, replace: bool = False, clock: Clock = _SYSTEM_CLOCK
) -> Identity:
    """Enrol at ``coordinator`` (host:port) and write the identity to ``folder``; it may be called again at any point.

    The key waits in ``folder``.joining until the identity is whole, so that a call whose answer was lost gets the same
    certificate. A folder that already is this node's identity is left as it is, unless ``replace``.

    Raises Conflict (the folder is another's, or has what the token would replace), Denied (the token is used, revoked
    or expired, or the two do not trust each other), Unreachable, OutOfSpace.
    """
    known = _is_known(token, folder)
    if known and not replace:
        return _working(folder, clock)
    key_path = folder.resolve().parent / f"{folder.resolve().name}.joining" / identity.KEY_FILE
    key = _waiting_key(key_path)
    certificate_pem = _enrol(token, coordinator, signing_request.make(key, token.name.id), clock)
    what = "the enrolled certificate"
    certificate = certificates.parse(certificate_pem, what)
    if identity.member_name(certificate_pem, token.identity.ca_pem, clock.utc(), what) != token.name:
        raise Denied(f"cannot use {what}: it is not for {token.name}; look at the coordinator")
    if not known:
        made = authority.Credentials(
            name=token.name,
            serial=certificates.serial(certificate),
            not_before_utc=certificate.not_valid_before_utc,
            expires_utc=certificate.not_valid_after_utc,
            ca_pem=token.identity.ca_pem,
            certificate_pem=certificate_pem,
            key_pem=signing_request.key_pem(key),
        )
        made.save(folder)
    else:
        identity.replace(folder, certificate_pem, signing_request.key_pem(key))
    joined = identity.load(folder, clock=clock)
    key_path.unlink()
    key_path.parent.rmdir()
    return joined


def _is_known(token: JoinToken, folder: Path) -> bool:
    """Whether the folder is an identity of the token's node, be it expired. Raises Conflict for anything else in it."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    ca_path, path = folder / identity.CA_FILE, folder / identity.CERTIFICATE_FILE
    try:
        uri = certificates.identity_uri(certificates.parse(identity.read_public(path), str(path)), str(path))
        same = identity.read_public(ca_path) == token.identity.ca_pem
    except HeliotropeError as error:
        raise Conflict(f"cannot join into {folder}: it is in use ({error}); move it away, or name another") from error
    if uri != str(token.name) or not same:
        raise Conflict(
            f"cannot join into {folder}: it is the identity of {uri}, the token is for {token.name} of "
            f"{'the same' if same else 'another'} authority; name another folder, or move this one away"
        )
    return True


def _working(folder: Path, clock: Clock) -> Identity:
    try:
        return identity.load(folder, clock=clock)
    except HeliotropeError as error:
        raise Conflict(f"cannot join into {folder}: {error}; with --replace the token's takes its place") from error


def _waiting_key(path: Path) -> signing_request.PrivateKey:
    """The key of an earlier call, or a new one, on disk before anybody hears of it. Raises OutOfSpace, Denied."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            return certificates.parse_key(identity.read_private(path), str(path))
        key = signing_request.new_key()
        records.write_durably(path, signing_request.key_pem(key), mode=0o600)
    except OSError as error:
        kind = OutOfSpace if error.errno in records.NO_ROOM else Denied
        raise kind(f"cannot write {path}: {error.strerror}; run as a user that may write there") from error
    return key


def _enrol(token: JoinToken, coordinator: str, csr_pem: bytes, clock: Clock) -> bytes:
    request = pb.EnrolRequest(csr_pem=csr_pem, hostname=socket.gethostname())
    with tls.grpc_channel(coordinator, token.identity, OPTIONS) as channel:
        try:
            answer = identity_pb2_grpc.IdentityServiceStub(channel).Enrol(request, timeout=CALL_TIMEOUT_S)
        except grpc.RpcError as error:
            raise _translated(error, coordinator, clock) from error
    return bytes(answer.certificate_pem)


def _translated(error: Any, coordinator: str, clock: Clock) -> HeliotropeError:
    details = error.details() or "no details"
    kind = dict(error.trailing_metadata() or ()).get(ERROR_KIND)
    if kind is not None:
        return by_name(str(kind))(details)
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return Incompatible(f"cannot join at {coordinator}: it knows no joining; upgrade the coordinator")
    cause = details.rpartition("last error: ")[2]
    if _HANDSHAKE.search(cause):
        return Denied(
            f"cannot join at {coordinator}: the TLS handshake failed ({cause}); it is no coordinator of the token's "
            f"fleet, or a clock is wrong (this machine's says {clock.utc().isoformat(timespec='seconds')})"
        )
    return Unreachable(f"cannot reach the coordinator at {coordinator}: {cause}; check the address and that it runs")
