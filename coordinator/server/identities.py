"""IdentityService: members get their certificates here, and lose them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc.aio

from heliotrope.foundation import signing_request, tls, wire
from heliotrope.foundation.authority_records import IssuedRecord
from heliotrope.foundation.certificates import BACKDATE
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Denied
from heliotrope.foundation.identity import Name, Role
from heliotrope.foundation.peer import Peer
from heliotrope.foundation.revocation import REASON_LIMIT, Revocation, parse_subject
from heliotrope.v1 import identity_pb2 as pb
from heliotrope.v1 import identity_pb2_grpc

from ..engine import Engine
from ..issuer import Issuer
from ..state.database import Transaction
from ..state.model import Enrolment
from .warden import Warden

log = logging.getLogger("heliotrope.coordinator.identities")

HOSTNAME_LIMIT = 253

Context = grpc.aio.ServicerContext[Any, Any]


class IdentityServicer(identity_pb2_grpc.IdentityServiceServicer):
    """Who is certified is the caller's own name, from its certificate; roles are checked around it (:mod:`.guard`)."""

    def __init__(self, *, engine: Engine, issuer: Issuer, warden: Warden, clock: Clock) -> None:
        self._engine = engine
        self._issuer = issuer
        self._warden = warden
        self._clock = clock

    async def Enrol(self, request: pb.EnrolRequest, context: Context) -> pb.IssuedCertificate:
        token = tls.peer_from_context(context)
        hostname = request.hostname[:HOSTNAME_LIMIT]
        pem = await self._engine.run(lambda tx: self._enrol(tx, token, request.csr_pem, hostname), ensure=False)
        return pb.IssuedCertificate(certificate_pem=pem)

    def _enrol(self, tx: Transaction, token: Peer, csr_pem: bytes, hostname: str) -> bytes:
        """The token is used up and the certificate is kept in one transaction: a lost answer can be asked for again."""
        key = signing_request.accept(csr_pem)
        digest = signing_request.key_digest(key)
        name = Name(token.name.fleet, Role.AGENT, token.name.id)
        used = tx.identities.enrolment(token.serial)
        if used is not None:
            if used.key_digest == digest:
                return used.certificate_pem
            raise Denied(
                f"cannot enrol {name}: this token was used at {used.enrolled_utc.isoformat(timespec='seconds')} by "
                f"host {used.hostname or 'unnamed'}; if that was not you, revoke node/{name.id} now; a new token: "
                f"heliotrope ca join-token --node {name.id}"
            )
        pem = self._issuer.certify(key, name)
        tx.identities.add_enrolment(
            Enrolment(
                token_serial=token.serial,
                name=str(name),
                key_digest=digest,
                hostname=hostname,
                certificate_pem=pem,
                enrolled_utc=self._clock.utc(),
            )
        )
        tx.after_commit(lambda: log.info("%s enrolled from host %r", name, hostname))
        return pem

    async def Renew(self, request: pb.RenewRequest, context: Context) -> pb.IssuedCertificate:
        name = tls.peer_from_context(context).name
        pem = await asyncio.to_thread(self._issuer.certify_request, request.csr_pem, name)
        log.info("renewed the certificate of %s", name)
        return pb.IssuedCertificate(certificate_pem=pem)

    async def ListIdentities(self, request: pb.ListIdentitiesRequest, context: Context) -> pb.IdentityList:
        now_utc = self._clock.utc()
        issued = await asyncio.to_thread(self._issuer.issued)
        shown = [record for record in reversed(issued) if request.include_expired or record.expires_utc > now_utc]
        return pb.IdentityList(
            identities=[self._view(record) for record in shown],
            revocations=[wire.to_message(entry, pb.Revocation) for entry in self._warden.revocations.entries],
        )

    def _view(self, record: IssuedRecord) -> pb.IdentityRecord:
        message: pb.IdentityRecord = wire.to_message(record, pb.IdentityRecord)
        issued_utc = record.not_before_utc + BACKDATE
        entry = self._warden.revocations.find(Name.parse(record.name), record.serial, issued_utc)
        if entry is not None:
            message.revoked.FromDatetime(entry.revoked_utc)
            message.reason = entry.reason
        return message

    async def RevokeIdentity(self, request: pb.RevokeIdentityRequest, context: Context) -> pb.Revocation:
        caller = tls.peer_from_context(context).name
        subject = parse_subject(request.subject, caller.fleet)
        entry = Revocation(subject=subject, revoked_utc=self._clock.utc(), reason=request.reason[:REASON_LIMIT])
        if not entry.is_name:
            await asyncio.to_thread(self._issuer.check_revocable, subject)

        def change(tx: Transaction) -> Revocation:
            known = tx.requests.find(f"{caller} RevokeIdentity", request.request_id)
            if known is None:
                tx.identities.revoke(entry)
                tx.requests.add(f"{caller} RevokeIdentity", request.request_id, subject, entry.revoked_utc)
            return tx.identities.revocation(known or subject) or entry

        kept = await self._engine.run(change, ensure=False)
        log.warning("%s revoked %s: %s", caller, kept.subject, kept.reason or "no reason given")
        await self._warden.refresh()
        message: pb.Revocation = wire.to_message(kept, pb.Revocation)
        return message
