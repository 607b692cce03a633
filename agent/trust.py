"""Whom this agent trusts: the coordinator's certificates for checking tickets, and the list of what was revoked.

Both come over the session. The list is kept on disk, so that a revoked node stays out of a restarted agent that has
not met its coordinator yet.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from heliotrope.foundation import records
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Corrupt, Denied, Unreachable
from heliotrope.foundation.identity import Identity
from heliotrope.foundation.peer import Peer
from heliotrope.foundation.revocation import Revocation, Revocations
from heliotrope.foundation.tickets import Ticket, TicketVerifier

log = logging.getLogger("heliotrope.agent.trust")

# The coordinator's newest certificate and the one before: tickets that were signed before its renewal are still out.
SIGNERS_KEPT = 2


class Trust:
    """Asked by every transfer, from its threads; told by the session."""

    def __init__(self, path: Path, own: Identity, clock: Clock) -> None:
        self._path = path
        self._ca_pem = own.ca_pem
        self._clock = clock
        self._revocations = _load(path)
        self._signers: dict[bytes, TicketVerifier] = {}  # newest first

    def learn_signers(self, certificates_pem: Sequence[bytes]) -> None:
        """Newest first. Raises Denied when one is not a coordinator's of this fleet."""
        found = {pem: TicketVerifier(self._ca_pem, pem, clock=self._clock) for pem in certificates_pem}
        for pem, verifier in self._signers.items():
            if len(found) < SIGNERS_KEPT:
                found.setdefault(pem, verifier)
        self._signers = found

    def learn_revocations(self, entries: Sequence[Revocation]) -> None:
        """Replaces the list. It is in force at once, also when the disk cannot take it."""
        found = Revocations(entries)
        if found == self._revocations:
            return
        self._revocations = found
        log.info("%d certificates or names are revoked", len(found.entries))
        try:
            records.save(self._path, found.entries)
        except OSError as error:
            log.error("cannot keep the list of revocations in %s: %s; it holds until a restart", self._path, error)

    def verify_ticket(self, blob: bytes) -> Ticket:
        """Raises Denied, and Unreachable before the first session."""
        if not self._signers:
            raise Unreachable("cannot check a ticket: this agent has not met its coordinator yet; it is tried again")
        refusal: Denied | None = None
        for verifier in self._signers.values():
            try:
                return verifier(blob)
            except Denied as error:
                refusal = refusal or error
        assert refusal is not None
        raise refusal

    def admit(self, peer: Peer) -> None:
        """Raises Denied for the far end of a transfer whose certificate is revoked."""
        self._revocations.check(peer)


def _load(path: Path) -> Revocations:
    try:
        return Revocations(records.load(path, tuple[Revocation, ...]))
    except FileNotFoundError:
        return Revocations()
    except Corrupt as error:
        # To stay down would strand the node's jobs; and no transfer passes before the coordinator has sent it again.
        log.error("%s; going on without it until the coordinator sends it", error)
        return Revocations()
