"""Ledger entries, their hash chain and its signed heads: what is hashed and signed, to the byte (docs/ledger.md).

An entry is one JSON object with sorted keys, no blanks, UTF-8, integers and strings and booleans only: floats have more
than one text. What is not known is not there. SHA-256 rather than BLAKE3, which is faster: an entry is 400 bytes, and
whoever audits has ``sha256`` in every language and on every machine.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Meta

from . import certificates
from .errors import Corrupt, Denied
from .identity import Identity, Role

VERSION = 1
START_HASH = bytes(32)  # what the first entry of a node is chained to
J_PER_KWH = 3.6e6
YEAR_H = 8766.0  # 365.25 days

_ENTRY_LABEL = b"heliotrope ledger entry 1\n"
_HEAD_LABEL = b"heliotrope ledger head 1\n"
_ENCODER = msgspec.json.Encoder(order="sorted")

Natural = Annotated[int, Meta(ge=0)]
Kind = Literal["first", "late", "correction", "gap"]


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One line of a node's books: what one job used of one device in one interval.

    ``kind``: ``first`` of its key, ``late`` if its energy came only after the interval was closed, ``correction`` (what
    is to be added to entry ``corrects`` and those that corrected it before), ``gap`` (records that the node lost). The
    key is (start_ms, site, device, scope, source, job_id). None is unknown and not written.
    Units: microjoules, microseconds, nanograms of CO2e, parts per million, micrograms per kilowatt-hour.
    """

    version: int
    node_id: str
    sequence: Annotated[int, Meta(ge=1)]
    kind: Kind
    start_ms: int
    length_ms: Natural
    site: str
    device: str
    scope: str
    source: str
    estimated: bool
    metered: Literal["it", "facility"]  # whether cooling and losses are in the energy: then PUE is not applied
    job_id: str  # "" idle, "?" unattributed
    energy_uj: Natural
    covered_us: Natural
    span_us: Natural
    reserved_us: Natural  # time of the device that the job held, to which embodied carbon is charged
    corrects: int | None = None
    pue_ppm: int | None = None  # as applied: 1000000 for energy metered at the facility
    intensity_ug_per_kwh: int | None = None
    renewable_ppm: int | None = None
    carbon_ng: int | None = None
    carbon_static_ng: int | None = None
    renewable_uj: int | None = None
    embodied_ug_per_h: int | None = None
    embodied_ng: int | None = None
    lost_count: int | None = None
    note: str | None = None

    @property
    def key(self) -> tuple[int, str, str, str, str, str]:
        """What an entry is about, within its node."""
        return (self.start_ms, self.site, self.device, self.scope, self.source, self.job_id)


class Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The coordinator's word that a node's chain had this hash at this entry."""

    fleet: str
    node_id: str
    sequence: Annotated[int, Meta(ge=1)]
    hash: str  # hexadecimal
    signed_utc: str  # RFC 3339, whole seconds, Z
    signer: str  # its certificate's serial


def canonical(record: Entry | Head) -> bytes:
    """The one text of a record."""
    return _ENCODER.encode(record)


def entry_hash(previous: bytes, body: bytes) -> bytes:
    """SHA-256 over a label, the hash of the node's entry before, and the canonical text: 32 bytes."""
    return hashlib.sha256(_ENTRY_LABEL + previous + body).digest()


def carbon_ng(energy_uj: int, pue_ppm: int, intensity_ug_per_kwh: int) -> int:
    """Operational carbon, E x PUE x I, half up, in integers: whoever recomputes it gets the same.

    Energy: E/3.6e12 kWh; PUE: /1e6; 1e3 ng a microgram.
    """
    return _rounded(energy_uj * pue_ppm * intensity_ug_per_kwh, 3_600_000_000_000_000)


def renewable_uj(energy_uj: int, renewable_ppm: int) -> int:
    """The renewable part of the energy."""
    return _rounded(energy_uj * renewable_ppm, 1_000_000)


def embodied_ng(reserved_us: int, embodied_ug_per_h: int) -> int:
    """Embodied carbon of the time that a device was held."""
    return _rounded(reserved_us * embodied_ug_per_h, 3_600_000)


def embodied_ug_per_h(embodied_kg: float, lifetime_years: float) -> int:
    """A device's embodied carbon, spread evenly over its life."""
    return round(embodied_kg * 1e9 / (lifetime_years * YEAR_H))


def _rounded(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def sign_head(head: Head, identity: Identity) -> bytes:
    """A DER signature, ECDSA P-256 with SHA-256, as ``openssl dgst -verify`` takes it. Raises Denied."""
    if identity.name.role is not Role.COORDINATOR or identity.name.fleet != head.fleet:
        raise Denied(f"cannot sign a ledger's head as {identity.name}: only a coordinator of fleet {head.fleet} may")
    key = certificates.parse_key(identity.key_pem, str(identity.key_path))
    return key.sign(_HEAD_LABEL + canonical(head), ec.ECDSA(hashes.SHA256()))


def check_head(head: Head, signature: bytes, certificate: x509.Certificate) -> None:
    """Raises Corrupt unless the certificate's key signed the head."""
    key = certificates.public_key(certificate, "the signer of a ledger's head")
    try:
        key.verify(signature, _HEAD_LABEL + canonical(head), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise Corrupt(
            f"cannot accept the head of node {head.node_id} at entry {head.sequence}: it or its signature was changed; "
            "fetch the ledger anew"
        ) from error


def certificate_text(certificate: x509.Certificate) -> str:
    """A certificate as PEM, the one way it is written into an export."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
