"""Certificate signing requests (PKCS #10): a public key with the proof that its sender holds the private one."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .errors import InvalidInput

PrivateKey = ec.EllipticCurvePrivateKey

SIZE_LIMIT_BYTES = 8192  # checked before any parsing: a request comes from whoever holds a token


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as it lies in a file (0600): PKCS #8, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def make(key: ec.EllipticCurvePrivateKey, common_name: str) -> bytes:
    """A request in PEM. The name in it is for people: whose it becomes, the connection's certificate says."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def accept(csr_pem: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of a request whose proof holds. Raises InvalidInput naming the field."""
    if len(csr_pem) > SIZE_LIMIT_BYTES:
        raise InvalidInput(f"field csr_pem: {len(csr_pem)} bytes, more than {SIZE_LIMIT_BYTES}; send a P-256 request")
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        key, proven = request.public_key(), request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise InvalidInput(f"field csr_pem: no signing request in PEM ({error}); send one") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInput("field csr_pem: its key is not EC P-256; make one of that kind")
    if not proven:
        raise InvalidInput("field csr_pem: its signature is not by its own key; sign it with the key that it carries")
    return key


def key_digest(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of the public key in hexadecimal: tells two keys apart without keeping them."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    return digest.finalize().hex()
