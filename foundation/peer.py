"""The far end of a connection as its certificate shows it: its name, and which certificate of that name it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from . import certificates
from .errors import Denied, InvalidInput
from .identity import Name


@dataclass(frozen=True, slots=True)
class Peer:
    """Who it is, and which of that name's certificates it showed; ``serial`` is hexadecimal."""

    name: Name
    serial: str
    issued_utc: datetime
    expires_utc: datetime

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Peer:
        """From a certificate that a TLS handshake has verified. Raises Denied if it names no member of a fleet."""
        try:
            name = Name.parse(certificates.identity_uri(certificate, "a connection"))
        except InvalidInput as error:
            raise Denied(f"cannot accept a connection: {error}") from error
        return cls(
            name=name,
            serial=certificates.serial(certificate),
            issued_utc=certificates.issued_utc(certificate),
            expires_utc=certificate.not_valid_after_utc,
        )
