"""The fleet's authority at the coordinator's hand, if its configuration gives it one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from heliotrope.foundation import authority, signing_request
from heliotrope.foundation.authority import Authority
from heliotrope.foundation.authority_records import IssuedRecord
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Conflict, InvalidInput, NotFound
from heliotrope.foundation.identity import Identity, Name
from heliotrope.foundation.revocation import Revocation

from .config import EnrolmentConfig


class Issuer:
    """Certifies members' keys. Without an authority every request is refused with the remedy."""

    def __init__(self, held: Authority | None, lifetime: timedelta) -> None:
        self._authority = held
        self._lifetime = lifetime

    @classmethod
    def open(cls, config: EnrolmentConfig, folder: Path, own: Identity, clock: Clock) -> Issuer:
        """Raises InvalidInput when the authority is another fleet's, and what ``authority.open`` raises."""
        held = authority.open(folder / config.authority, clock=clock) if config.authority else None
        if held is not None and held.ca_pem != own.ca_pem:
            raise InvalidInput(
                f"field enrolment.authority: {held.folder} did not sign this coordinator's identity; name the "
                "authority that did, or have the identity issued by it"
            )
        return cls(held, timedelta(seconds=config.certificate_s))

    def certify(self, key: ec.EllipticCurvePublicKey, name: Name, addresses: Sequence[str] = ()) -> bytes:
        """The certificate in PEM. Raises Conflict without an authority, and what ``Authority.certify`` raises."""
        certificate = self._held(f"certify {name}").certify(key, name, lifetime=self._lifetime, addresses=addresses)
        return certificate.public_bytes(serialization.Encoding.PEM)

    def certify_request(self, csr_pem: bytes, name: Name, addresses: Sequence[str] = ()) -> bytes:
        """As :meth:`certify`, for a signing request."""
        return self.certify(signing_request.accept(csr_pem), name, addresses)

    def issued(self) -> list[IssuedRecord]:
        """Empty without an authority."""
        return self._authority.issued() if self._authority else []

    def revoked(self) -> list[Revocation]:
        """What was revoked at the authority's folder (``heliotrope ca revoke``); empty without one."""
        return self._authority.revoked() if self._authority else []

    def check_revocable(self, serial: str) -> None:
        """Raises NotFound for a serial that the authority never signed; without one nothing can be said."""
        if self._authority is not None and all(record.serial != serial for record in self._authority.issued()):
            raise NotFound(f"cannot revoke {serial}: no such certificate; `heliotrope identity list` shows them")

    def _held(self, what: str) -> Authority:
        if self._authority is None:
            raise Conflict(
                f"cannot {what}: this coordinator holds no authority; name its folder in enrolment.authority of the "
                "coordinator's configuration, or have the identity issued by hand: heliotrope ca issue"
            )
        return self._authority
