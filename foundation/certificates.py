"""What this project asks of an X.509 certificate, in one place for files, tickets and the authority.

TLS libraries check the peers of connections by themselves; these checks serve everything that is not a connection,
and they turn "certificate verify failed" into a sentence that says which of the reasons it was.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from .errors import Denied, InvalidInput

SCHEME = "heliotrope://"
BACKDATE = timedelta(minutes=5)  # fleets' clocks differ by less than this; more would revive a stolen old clock


def parse(pem: bytes, what: str) -> x509.Certificate:
    """The one certificate in ``pem``; ``what`` names its origin. Raises InvalidInput for none, several or damage.

    Several are refused because OpenSSL would trust all of them where the checks below look at the first only.
    """
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise InvalidInput(f"cannot read {what}: not a PEM certificate ({error}); have it issued again") from error
    if len(certificates) != 1:
        raise InvalidInput(f"cannot read {what}: it holds {len(certificates)} certificates; leave exactly one in it")
    return certificates[0]


def parse_key(pem: bytes, what: str) -> ec.EllipticCurvePrivateKey:
    """The P-256 private key in ``pem``. Raises InvalidInput, never with any part of the key in its text."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"cannot read {what}: not an unencrypted PEM private key; have it issued again") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInput(f"cannot read {what}: not an EC P-256 key; have it issued again by `heliotrope ca issue`")
    return key


def public_key(certificate: x509.Certificate, what: str) -> ec.EllipticCurvePublicKey:
    """The certificate's P-256 public key. Raises InvalidInput for any other kind."""
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInput(f"cannot use {what}: its key is not EC P-256; have it issued by `heliotrope ca issue`")
    return key


def serial(certificate: x509.Certificate) -> str:
    """In hexadecimal, as everywhere in this project."""
    return f"{certificate.serial_number:x}"


def issued_utc(certificate: x509.Certificate) -> datetime:
    """When the authority signed it, to the second: validity begins earlier, for clocks that are behind."""
    return certificate.not_valid_before_utc + BACKDATE


def identity_uri(certificate: x509.Certificate, what: str) -> str:
    """The one ``heliotrope://`` URI among its subject alternative names. Raises Denied for none or several."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    uris = [uri for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if uri.startswith(SCHEME)]
    if len(uris) != 1:
        raise Denied(f"cannot accept {what}: it carries {len(uris)} {SCHEME} names, not one; use a fleet's certificate")
    return uris[0]


def check_times(certificate: x509.Certificate, now_utc: datetime, what: str) -> None:
    """Raises Denied unless ``now_utc`` lies in the certificate's validity period."""
    if now_utc < certificate.not_valid_before_utc:
        begin = certificate.not_valid_before_utc.isoformat()
        raise Denied(
            f"cannot accept {what}: it is valid from {begin} but this machine's clock says "
            f"{now_utc.isoformat(timespec='seconds')}; set the clock"
        )
    if now_utc >= certificate.not_valid_after_utc:
        raise Denied(
            f"cannot accept {what}: it expired at {certificate.not_valid_after_utc.isoformat()}; have a new one issued"
        )


def check_issued_by(certificate: x509.Certificate, authority: x509.Certificate, what: str) -> None:
    """Raises Denied unless ``authority`` is a certificate authority and signed ``certificate``."""
    try:
        constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = x509.BasicConstraints(ca=False, path_length=None)
    if not constraints.ca:
        raise Denied(f"cannot accept {what}: what should be its authority is no authority; use the fleet's ca.crt")
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise Denied(
            f"cannot accept {what}: it was not signed by this authority; use the certificate and ca.crt of one fleet"
        ) from error
