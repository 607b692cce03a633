"""Tickets: what is signed comes back; a changed, foreign, expired or ill-formed one is refused with its reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from hypothesis import given, settings
from hypothesis import strategies as st

from heliotrope.foundation import authority, certificates, identity, tickets
from heliotrope.foundation.authority import Authority
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Denied, InvalidInput
from heliotrope.foundation.identity import Identity, Role
from heliotrope.foundation.tickets import Ticket, TicketVerifier

Member = Callable[[Authority, Role, str], Identity]

NOW = datetime.now(UTC)
TICKET = Ticket(
    fleet="lab",
    job_id="job-1",
    migration_id="move-1",
    epoch=3,
    source_node="n1",
    destination_node="n2",
    byte_limit=10**12,
    expires_utc=NOW + timedelta(minutes=10),
)


@pytest.fixture(scope="module")
def signer(lab: Authority, member: Member) -> Identity:
    return member(lab, Role.COORDINATOR, "main")


@pytest.fixture(scope="module")
def blob(signer: Identity) -> bytes:
    return tickets.sign(TICKET, signer)


def _verify(blob: bytes, signer: Identity, now_utc: datetime = NOW) -> Ticket:
    return tickets.verify(blob, signer.certificate_pem, signer.ca_pem, now_utc=now_utc)


@settings(max_examples=50)
@given(
    texts=st.lists(st.text(max_size=40), min_size=4, max_size=4),
    numbers=st.lists(st.integers(0, 2**63 - 1), min_size=2, max_size=2),
    left_s=st.floats(1e-3, 1e6),
    zone_h=st.integers(-12, 14),
)
def test_what_is_signed_comes_back(
    signer: Identity, texts: list[str], numbers: list[int], left_s: float, zone_h: int
) -> None:
    ticket = Ticket(
        fleet="lab",
        job_id=texts[0],
        migration_id=texts[1],
        epoch=numbers[0],
        source_node=texts[2],
        destination_node=texts[3],
        byte_limit=numbers[1],
        expires_utc=(NOW + timedelta(seconds=left_s)).astimezone(timezone(timedelta(hours=zone_h))),
    )
    assert _verify(tickets.sign(ticket, signer), signer) == ticket


@settings(max_examples=300)
@given(data=st.data(), change=st.integers(1, 255))
def test_any_changed_byte_is_refused(signer: Identity, blob: bytes, data: st.DataObject, change: int) -> None:
    position = data.draw(st.integers(0, len(blob) - 1))
    changed = bytearray(blob)
    changed[position] ^= change
    with pytest.raises(Denied):
        _verify(bytes(changed), signer)


def test_every_position_is_covered(signer: Identity, blob: bytes) -> None:
    for position in range(len(blob)):
        with pytest.raises(Denied):
            _verify(blob[:position] + bytes([blob[position] ^ 1]) + blob[position + 1 :], signer)


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_noise_is_refused(signer: Identity, noise: bytes) -> None:
    for text in (noise, b"\x01" + noise):
        with pytest.raises(Denied):
            _verify(text, signer)


def test_cut_or_lengthened_is_refused(signer: Identity, blob: bytes) -> None:
    for length in range(len(blob)):
        with pytest.raises(Denied):
            _verify(blob[:length], signer)
    for text in (blob + b"\x00", blob + blob, blob + bytes(tickets.SIZE_LIMIT_BYTES)):
        with pytest.raises(Denied):
            _verify(text, signer)


def test_the_reason_is_said(signer: Identity, blob: bytes) -> None:
    later = TICKET.expires_utc
    for changed, now_utc, reason in (
        (blob, later, "it expired at"),
        (b"\x02" + blob[1:], NOW, "version 2"),
        (blob[:-1] + bytes([blob[-1] ^ 1]), NOW, "was changed"),
        (b"", NOW, "0 bytes is no ticket's length"),
    ):
        with pytest.raises(Denied, match=reason):
            _verify(changed, signer, now_utc)
    assert _verify(blob, signer, later - timedelta(microseconds=1)) == TICKET


def test_another_coordinators_signature_is_refused(lab: Authority, member: Member, blob: bytes) -> None:
    with pytest.raises(Denied, match="not signed by heliotrope://lab/coordinator/spare"):
        _verify(blob, member(lab, Role.COORDINATOR, "spare"))


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.COORDINATOR])
def test_only_coordinators_sign(lab: Authority, member: Member, role: Role) -> None:
    other = member(lab, role, "m1")
    with pytest.raises(Denied, match="only a coordinator may"):
        tickets.sign(TICKET, other)
    forged = _forge(other, msgspec.msgpack.encode(TICKET))
    with pytest.raises(Denied, match="is no coordinator"):
        _verify(forged, other)


def test_a_coordinator_of_a_foreign_authority_is_refused(
    lab: Authority, other_lab: Authority, member: Member, signer: Identity
) -> None:
    foreign = member(other_lab, Role.COORDINATOR, "main")
    forged = tickets.sign(TICKET, foreign)
    assert _verify(forged, foreign) == TICKET, "genuine in its own fleet"
    with pytest.raises(Denied, match="not signed by this authority"):
        tickets.verify(forged, foreign.certificate_pem, signer.ca_pem, now_utc=NOW)
    with pytest.raises(Denied, match="not signed by heliotrope://lab/coordinator/main"):
        _verify(forged, signer)


def test_an_expired_signer_vouches_for_nothing(tmp_path: Path, clock_at: Callable[..., Clock]) -> None:
    then = clock_at(2024, 1, 1)
    authority.create(tmp_path / "ca", "lab", clock=then).issue(Role.COORDINATOR, "c", days=1).save(tmp_path / "c")
    old = identity.load(tmp_path / "c", clock=then)
    lasting = tickets.sign(TICKET, old)
    assert _verify(lasting, old, then.utc()) == TICKET
    with pytest.raises(Denied, match="signer: it expired at 2024-01-02"):
        _verify(lasting, old)


def test_the_fleet_must_match(signer: Identity) -> None:
    foreign = msgspec.structs.replace(TICKET, fleet="elsewhere")
    with pytest.raises(InvalidInput, match="field fleet"):
        tickets.sign(foreign, signer)
    with pytest.raises(Denied, match="for fleet elsewhere"):
        _verify(_forge(signer, msgspec.msgpack.encode(foreign)), signer)


def _forge(own: Identity, body: bytes, label: bytes = b"heliotrope transfer ticket") -> bytes:
    """Sign any body, as a holder of the key could: written apart from the code under test."""
    key = certificates.parse_key(own.key_pem, "test key")
    r, s = utils.decode_dss_signature(key.sign(label + b"\0\x01" + body, ec.ECDSA(hashes.SHA256())))
    return b"\x01" + r.to_bytes(32, "big") + s.to_bytes(32, "big") + body


def test_the_layout_is_as_documented(signer: Identity) -> None:
    assert _verify(_forge(signer, msgspec.msgpack.encode(TICKET)), signer) == TICKET


def test_a_signature_made_for_something_else_is_refused(signer: Identity) -> None:
    with pytest.raises(Denied, match="was changed"):
        _verify(_forge(signer, msgspec.msgpack.encode(TICKET), b"heliotrope something else"), signer)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epoch", -1),
        ("byte_limit", -1),
        ("epoch", "3"),
        ("job_id", 7),
        ("expires_utc", "soon"),
        ("expires_utc", datetime(2030, 1, 1)),
    ],
)
def test_ill_typed_fields_are_refused_at_both_ends(signer: Identity, field: str, value: object) -> None:
    wrong = msgspec.structs.replace(TICKET, **{field: value})
    with pytest.raises(InvalidInput, match=field):
        tickets.sign(wrong, signer)
    with pytest.raises(Denied, match=field):
        _verify(_forge(signer, msgspec.msgpack.encode(wrong)), signer)


def test_an_endless_ticket_is_not_signed(signer: Identity) -> None:
    with pytest.raises(InvalidInput, match="shorten its ids"):
        tickets.sign(msgspec.structs.replace(TICKET, job_id="x" * tickets.SIZE_LIMIT_BYTES), signer)


def test_the_verifier_uses_its_clock(signer: Identity, blob: bytes, clock_at: Callable[..., Clock]) -> None:
    verifier = TicketVerifier(signer.ca_pem, signer.certificate_pem)
    assert verifier(blob) == TICKET
    assert verifier.signer == signer.name
    long_ago = clock_at(2000, 1, 1)
    with pytest.raises(Denied, match=re.escape("clock says 2000-01-01")):
        TicketVerifier(signer.ca_pem, signer.certificate_pem, clock=long_ago)


def test_the_verifier_refuses_a_useless_signer_at_once(lab: Authority, member: Member, signer: Identity) -> None:
    with pytest.raises(Denied, match="no coordinator"):
        TicketVerifier(signer.ca_pem, member(lab, Role.AGENT, "n1").certificate_pem)
    with pytest.raises(Denied, match="not a PEM certificate"):
        TicketVerifier(signer.ca_pem, b"nonsense")
