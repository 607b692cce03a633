"""A fleet's certificate authority: a folder with its certificate, its key and a record of everything it signed.

A certificate is on record before it is handed out (:mod:`.authority_records`), so that revocation can always find by
serial what exists in a name; a record without a holder does no harm.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from . import certificates, identity, revocation, signing_request
from .authority_records import AuthorityRecords, IssuedRecord
from .certificates import BACKDATE
from .clock import Clock, SystemClock
from .errors import InvalidInput, NotFound
from .identity import CA_FILE, CERTIFICATE_FILE, KEY_FILE, Name, Role
from .revocation import Revocation

AUTHORITY_DAYS = 3650
DEFAULT_DAYS = 365
DEFAULT_LIFETIME = timedelta(days=DEFAULT_DAYS)
JOIN_TOKEN_S = 3600.0
JOIN_TOKEN_LIMIT_S = 7 * 86_400
COORDINATOR_HOST = "coordinator.heliotrope.internal"  # what gRPC's TLS checks instead of the address it dialled

_CA_KEY_FILE = "ca.key"
_RESERVED_ZONE = "heliotrope.internal"
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_SYSTEM_CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class Credentials:
    """A fresh certificate with its key; :meth:`save` makes the folder that ``identity.load`` reads."""

    name: Name
    serial: str
    not_before_utc: datetime
    expires_utc: datetime
    ca_pem: bytes = field(repr=False)
    certificate_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)

    def save(self, folder: Path) -> None:
        """Write the identity's folder, key 0600. Raises Conflict if it is in use, OutOfSpace, InvalidInput."""
        files = {
            CA_FILE: (self.ca_pem, 0o644),
            CERTIFICATE_FILE: (self.certificate_pem, 0o644),
            KEY_FILE: (self.key_pem, 0o600),
        }
        identity.write_folder(folder, files)


class Authority:
    """An opened authority. Make one with :func:`create` or :func:`open`."""

    def __init__(
        self, folder: Path, fleet: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, clock: Clock
    ) -> None:
        self.folder = folder
        self.fleet = fleet
        self.certificate = certificate
        self._key = key
        self._clock = clock
        self._records = AuthorityRecords(folder)

    @property
    def ca_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate in hexadecimal: what a person compares over another channel."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def not_before_utc(self) -> datetime:
        return self.certificate.not_valid_before_utc

    @property
    def expires_utc(self) -> datetime:
        return self.certificate.not_valid_after_utc

    def issue(self, role: Role, id: str, *, days: int = DEFAULT_DAYS, addresses: Sequence[str] = ()) -> Credentials:
        """A new key and its certificate; ``addresses`` are further host names or IP addresses (for browsers).

        Raises InvalidInput naming the field, Denied when this machine's clock is outside the authority's validity.
        """
        most = self._left().days
        if not 1 <= days <= most:
            raise InvalidInput(f"field days: {days} is outside 1..{most}, what is left of the authority; choose fewer")
        return self._issue(Name(self.fleet, role, id), timedelta(days=days), addresses)

    def issue_joiner(self, node_id: str, *, valid_s: float = JOIN_TOKEN_S) -> Credentials:
        """What goes into a join token: it may enrol that node, once. Raises as :meth:`issue`."""
        if not 1 <= valid_s <= JOIN_TOKEN_LIMIT_S:
            raise InvalidInput(f"field valid_s: {valid_s:g} is outside 1..{JOIN_TOKEN_LIMIT_S}; a token is short-lived")
        return self._issue(Name(self.fleet, Role.JOINER, node_id), timedelta(seconds=valid_s), ())

    def certify(
        self,
        public_key: ec.EllipticCurvePublicKey,
        name: Name,
        *,
        lifetime: timedelta = DEFAULT_LIFETIME,
        addresses: Sequence[str] = (),
    ) -> x509.Certificate:
        """Sign a key that its holder made itself (enrolment, renewal), and record it.

        It ends with the authority at the latest. Raises as :meth:`issue`.
        """
        if name.fleet != self.fleet:
            raise InvalidInput(f"field fleet: {name.fleet!r} is not this authority's fleet {self.fleet!r}; use its own")
        lifetime = min(lifetime, self._left())
        now_utc = self._clock.utc()
        begin, end = max(now_utc - BACKDATE, self.not_before_utc), now_utc + lifetime
        builder = _base(_subject(name.id), self.certificate.subject, public_key, begin, end)
        for extension, critical in _leaf_extensions(name, addresses, self.certificate, public_key):
            builder = builder.add_extension(extension, critical)
        certificate = builder.sign(self._key, hashes.SHA256())
        self._records.add(
            IssuedRecord(
                serial=certificates.serial(certificate),
                name=str(name),
                not_before_utc=certificate.not_valid_before_utc,
                expires_utc=certificate.not_valid_after_utc,
            )
        )
        return certificate

    def issued(self) -> list[IssuedRecord]:
        """Everything this authority signed, oldest first. Raises Corrupt for a damaged record."""
        return self._records.issued()

    def revoke(self, subject: str, *, reason: str = "") -> Revocation:
        """Put a revocation on record: ``subject`` as :func:`revocation.parse_subject` takes it.

        It takes effect at a coordinator that holds this folder. Raises InvalidInput, NotFound for a serial that this
        authority never signed, Conflict when it cannot be written.
        """
        parsed = revocation.parse_subject(subject, self.fleet)
        entry = Revocation(subject=parsed, revoked_utc=self._clock.utc(), reason=reason[: revocation.REASON_LIMIT])
        if not entry.is_name and all(record.serial != parsed for record in self.issued()):
            raise NotFound(f"cannot revoke {parsed}: this authority signed no such serial; see: heliotrope ca show")
        self._records.revoke(entry)
        return entry

    def revoked(self) -> list[Revocation]:
        """The revocations on record, oldest first. Raises Corrupt for a damaged record."""
        return self._records.revoked()

    def _issue(self, name: Name, lifetime: timedelta, addresses: Sequence[str]) -> Credentials:
        key = signing_request.new_key()
        certificate = self.certify(key.public_key(), name, lifetime=lifetime, addresses=addresses)
        return Credentials(
            name=name,
            serial=certificates.serial(certificate),
            not_before_utc=certificate.not_valid_before_utc,
            expires_utc=certificate.not_valid_after_utc,
            ca_pem=self.ca_pem,
            certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
            key_pem=signing_request.key_pem(key),
        )

    def _left(self) -> timedelta:
        """What is left of the authority's own life. Raises Denied when there is none, or the clock is wrong."""
        now_utc = self._clock.utc()
        certificates.check_times(self.certificate, now_utc, f"the authority in {self.folder}")
        return self.expires_utc - now_utc


def create(folder: Path, fleet: str, *, clock: Clock = _SYSTEM_CLOCK) -> Authority:
    """Make a fleet's authority in a new or empty folder (0700; key 0600; valid for ten years).

    Raises InvalidInput (fleet name, folder), Conflict (the folder is in use: an authority is never overwritten).
    """
    identity.check_fleet(fleet)
    key = ec.generate_private_key(ec.SECP256R1())
    now_utc = clock.utc()
    subject = _subject(f"Heliotrope fleet {fleet}"[:64])  # X.509 caps a common name at 64 characters
    end = now_utc + timedelta(days=AUTHORITY_DAYS)
    builder = _base(subject, subject, key.public_key(), now_utc - BACKDATE, end)
    for extension, critical in _authority_extensions(fleet, key.public_key()):
        builder = builder.add_extension(extension, critical)
    certificate = builder.sign(key, hashes.SHA256())
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    identity.write_folder(folder, {CA_FILE: (pem, 0o644), _CA_KEY_FILE: (signing_request.key_pem(key), 0o600)})
    return Authority(folder, fleet, certificate, key, clock)


def open(folder: Path, *, clock: Clock = _SYSTEM_CLOCK) -> Authority:
    """Open an authority's folder. Raises NotFound, Denied (key readable by others), InvalidInput (damaged)."""
    key_path, certificate_path = folder / _CA_KEY_FILE, folder / CA_FILE
    key = certificates.parse_key(identity.read_private(key_path), str(key_path))
    certificate = certificates.parse(identity.read_public(certificate_path), str(certificate_path))
    if certificates.public_key(certificate, str(certificate_path)) != key.public_key():
        raise InvalidInput(
            f"cannot use {key_path}: it is not the key of {certificate_path}; restore both from a backup"
        )
    fleet = identity.fleet_of(certificates.identity_uri(certificate, str(certificate_path)))
    return Authority(folder, fleet, certificate, key, clock)


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _base(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().issuer_name(issuer).subject_name(subject).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(begin).not_valid_after(end)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_extensions(fleet: str, key: ec.EllipticCurvePublicKey) -> list[tuple[x509.ExtensionType, bool]]:
    uri = x509.UniformResourceIdentifier(identity.fleet_uri(fleet))
    return [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (_usage(authority=True), True),
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (x509.SubjectAlternativeName([uri]), False),
    ]


def _leaf_extensions(
    name: Name, addresses: Sequence[str], authority: x509.Certificate, key: ec.EllipticCurvePublicKey
) -> list[tuple[x509.ExtensionType, bool]]:
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(str(name))]
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if name.role is Role.COORDINATOR:
        names.append(x509.DNSName(COORDINATOR_HOST))
    if name.role in (Role.COORDINATOR, Role.AGENT):
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    names += [_address(text) for text in addresses]
    issuer_key = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(authority=False), True),
        (x509.ExtendedKeyUsage(usages), False),
        (x509.SubjectAlternativeName(names), False),
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key), False),
    ]


def _address(text: str) -> x509.GeneralName:
    """An IP address or host name. The internal zone is refused: the coordinator is recognised by a name in it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    if not _HOST.fullmatch(text):
        raise InvalidInput(f"field addresses: {text!r} is neither an IP address nor a lower-case host name; correct it")
    if text == _RESERVED_ZONE or text.endswith(f".{_RESERVED_ZONE}"):
        raise InvalidInput(f"field addresses: {text!r} lies in {_RESERVED_ZONE}, which is reserved; leave it out")
    return x509.DNSName(text)
