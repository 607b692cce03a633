"""A fleet's certificate authority: a folder with its certificate, its key and a record of everything it signed.

The records (``issued/SERIAL.json``) are written before a certificate is handed out, so that renewal and
revocation can always find by serial what exists in a name; a record without a holder does no harm.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from . import certificates, identity, records
from .clock import Clock, SystemClock
from .errors import Conflict, InvalidInput
from .identity import CA_FILE, CERTIFICATE_FILE, KEY_FILE, Name, Role

AUTHORITY_DAYS = 3650
DEFAULT_DAYS = 365
COORDINATOR_HOST = "coordinator.heliotrope.internal"  # what gRPC's TLS checks instead of the address it dialled

_CA_KEY_FILE = "ca.key"
_ISSUED_FOLDER = "issued"
_RESERVED_ZONE = "heliotrope.internal"
_BACKDATE = timedelta(minutes=5)  # fleets' clocks differ by less than this; more would revive a stolen old clock
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


class IssuedRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the authority remembers of a certificate; ``serial`` is hexadecimal, ``version`` that of this record."""

    version: int = 1
    serial: str
    name: str
    not_before_utc: datetime
    expires_utc: datetime


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
        name = Name(self.fleet, role, id)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.certify(key.public_key(), name, days=days, addresses=addresses)
        return Credentials(
            name=name,
            serial=f"{certificate.serial_number:x}",
            not_before_utc=certificate.not_valid_before_utc,
            expires_utc=certificate.not_valid_after_utc,
            ca_pem=self.ca_pem,
            certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
            key_pem=_key_pem(key),
        )

    def certify(
        self,
        public_key: ec.EllipticCurvePublicKey,
        name: Name,
        *,
        days: int = DEFAULT_DAYS,
        addresses: Sequence[str] = (),
    ) -> x509.Certificate:
        """Sign a key that its holder made itself (enrolment, renewal), and record it. Raises as :meth:`issue`."""
        if name.fleet != self.fleet:
            raise InvalidInput(f"field fleet: {name.fleet!r} is not this authority's fleet {self.fleet!r}; use its own")
        begin, end = self._period(days)
        builder = _base(_subject(name.id), self.certificate.subject, public_key, begin, end)
        for extension, critical in _leaf_extensions(name, addresses, self.certificate, public_key):
            builder = builder.add_extension(extension, critical)
        certificate = builder.sign(self._key, hashes.SHA256())
        self._record(name, certificate)
        return certificate

    def issued(self) -> list[IssuedRecord]:
        """Everything this authority signed, oldest first. Raises Corrupt for a damaged record."""
        paths = sorted((self.folder / _ISSUED_FOLDER).glob("*.json"))
        return sorted((records.load(path, IssuedRecord) for path in paths), key=lambda r: (r.not_before_utc, r.serial))

    def _period(self, days: int) -> tuple[datetime, datetime]:
        now_utc = self._clock.utc()
        certificates.check_times(self.certificate, now_utc, f"the authority in {self.folder}")
        most = (self.expires_utc - now_utc).days
        if not 1 <= days <= most:
            raise InvalidInput(f"field days: {days} is outside 1..{most}, what is left of the authority; choose fewer")
        begin = max(now_utc - _BACKDATE, self.not_before_utc)
        return begin, now_utc + timedelta(days=days)

    def _record(self, name: Name, certificate: x509.Certificate) -> None:
        folder = self.folder / _ISSUED_FOLDER
        serial = f"{certificate.serial_number:x}"
        record = IssuedRecord(
            serial=serial,
            name=str(name),
            not_before_utc=certificate.not_valid_before_utc,
            expires_utc=certificate.not_valid_after_utc,
        )
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            records.save(folder / f"{serial}.json", record)
        except OSError as error:
            raise Conflict(
                f"cannot record a certificate in {folder}: {error.strerror}; make it writable, nothing was issued"
            ) from error


def create(folder: Path, fleet: str, *, clock: Clock = _SYSTEM_CLOCK) -> Authority:
    """Make a fleet's authority in a new or empty folder (0700; key 0600; valid for ten years).

    Raises InvalidInput (fleet name, folder), Conflict (the folder is in use: an authority is never overwritten).
    """
    identity.check_fleet(fleet)
    key = ec.generate_private_key(ec.SECP256R1())
    now_utc = clock.utc()
    subject = _subject(f"Heliotrope fleet {fleet}"[:64])  # X.509 caps a common name at 64 characters
    end = now_utc + timedelta(days=AUTHORITY_DAYS)
    builder = _base(subject, subject, key.public_key(), now_utc - _BACKDATE, end)
    for extension, critical in _authority_extensions(fleet, key.public_key()):
        builder = builder.add_extension(extension, critical)
    certificate = builder.sign(key, hashes.SHA256())
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    identity.write_folder(folder, {CA_FILE: (pem, 0o644), _CA_KEY_FILE: (_key_pem(key), 0o600)})
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


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


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
