"""Who is let in: keeps the list of revocations in force, tells the agents, ends open calls, renews the own identity.

What an operator revokes at this coordinator, at another one of the same state, or at the authority's folder all ends
up in the state; from there it takes effect here within SWEEP_S.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta

from cryptography import x509

from heliotrope.foundation import certificates, wire
from heliotrope.foundation.authority import COORDINATOR_HOST
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Denied, HeliotropeError
from heliotrope.foundation.keyring import Keyring
from heliotrope.foundation.peer import Peer
from heliotrope.foundation.revocation import Revocation, Revocations
from heliotrope.v1 import fleet_pb2, identity_pb2

from ..engine import Engine
from ..issuer import Issuer
from ..state.database import Transaction
from .calls import OpenCalls
from .sessions import Sessions

log = logging.getLogger("heliotrope.coordinator.warden")

SWEEP_S = 5.0
RENEWAL_RETRY = timedelta(hours=1)


class Warden:
    """Touched by the event loop only; :meth:`refresh` once before the first call is served."""

    def __init__(
        self,
        *,
        engine: Engine,
        issuer: Issuer,
        keyring: Keyring,
        calls: OpenCalls,
        sessions: Sessions,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._issuer = issuer
        self._keyring = keyring
        self._calls = calls
        self._sessions = sessions
        self._clock = clock
        self._revocations = Revocations()
        self._previous_pem = b""
        self._retry_utc: datetime | None = None
        self._complaint = ""

    @property
    def certificate_pem(self) -> bytes:
        return self._keyring.current.certificate_pem

    @property
    def revocations(self) -> Revocations:
        return self._revocations

    def admit(self, peer: Peer) -> None:
        """Raises Denied for a certificate that is revoked, or that expired since its connection was made."""
        self._revocations.check(peer)
        if self._clock.utc() >= peer.expires_utc:
            raise Denied(
                f"cannot accept {peer.name}: its certificate expired at {peer.expires_utc.isoformat()}; renew it, or "
                "have a new one issued"
            )

    def trust(self) -> fleet_pb2.CoordinatorMessage:
        """What agents are told of whom to trust."""
        known = [pem for pem in (self.certificate_pem, self._previous_pem) if pem]
        entries = [wire.to_message(entry, identity_pb2.Revocation) for entry in self._revocations.entries]
        return fleet_pb2.CoordinatorMessage(
            trust=fleet_pb2.Trust(coordinator_certificates_pem=known, revocations=entries)
        )

    async def run(self) -> None:
        """For ever: what is revoked takes effect, what expires is renewed."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.refresh()
                self._renew_if_due()
            except HeliotropeError as error:
                self._complain(str(error))
            except Exception:
                log.exception("the list of revocations could not be brought up to date; it is tried again")
            else:
                self._complaint = ""

    async def refresh(self) -> None:
        """Bring the list up to date, tell the agents what is new, and end the calls of those who are out."""
        try:
            recorded = await asyncio.to_thread(self._issuer.revoked)
            found = await self._engine.run(lambda tx: _merged(tx, recorded), ensure=False)
            if found != self._revocations:
                self._revocations = found
                self._sessions.broadcast(self.trust())
        finally:
            for peer in self._calls.end_refused(self.admit):
                log.warning("ended a call of %s, certificate %s: it is revoked or expired", peer.name, peer.serial)

    def _renew_if_due(self) -> None:
        """The own identity; in the event loop, so that agents are told before any ticket is signed with the new key."""
        now_utc = self._clock.utc()
        before = self._keyring.current
        if self._keyring.refresh():
            self._announce(before.certificate_pem)
        if now_utc < self._keyring.due_utc or (self._retry_utc is not None and now_utc < self._retry_utc):
            return
        self._retry_utc = now_utc + RENEWAL_RETRY
        before = self._keyring.current
        addresses = _addresses(before.certificate_pem)
        self._keyring.renew(lambda csr_pem: self._issuer.certify_request(csr_pem, before.name, addresses))
        self._retry_utc = None
        self._announce(before.certificate_pem)

    def _announce(self, previous_pem: bytes) -> None:
        self._previous_pem = previous_pem
        expires = self._keyring.current.expires_utc.isoformat()
        log.info("the coordinator's own identity was renewed, valid until %s", expires)
        self._sessions.broadcast(self.trust())

    def _complain(self, text: str) -> None:
        """Once per cause: this is tried every few seconds."""
        if text != self._complaint:
            log.error("%s", text)
        self._complaint = text


def _merged(tx: Transaction, recorded: list[Revocation]) -> Revocations:
    for entry in recorded:
        tx.identities.revoke(entry)
    return Revocations(tx.identities.revocations())


def _addresses(certificate_pem: bytes) -> list[str]:
    """The host names and addresses that were put into a certificate for browsers: its successor has them too."""
    certificate = certificates.parse(certificate_pem, "the coordinator's certificate")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hosts = [host for host in names.get_values_for_type(x509.DNSName) if host != COORDINATOR_HOST]
    return [*hosts, *(str(address) for address in names.get_values_for_type(x509.IPAddress))]
