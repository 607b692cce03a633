"""What a revocation covers: a serial, or a name up to a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from heliotrope.foundation import authority
from heliotrope.foundation.authority import Authority
from heliotrope.foundation.errors import Denied, InvalidInput, NotFound
from heliotrope.foundation.identity import Name, Role
from heliotrope.foundation.peer import Peer
from heliotrope.foundation.revocation import Revocation, Revocations, parse_subject

NOW = datetime(2026, 6, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def peer(role: Role = Role.AGENT, member: str = "n1", serial: str = "a1", after_s: float = -60) -> Peer:
    issued = (NOW + timedelta(seconds=after_s)).replace(microsecond=0)  # certificates know whole seconds only
    return Peer(Name("lab", role, member), serial, issued, issued + timedelta(days=1))


def by(subject: str, reason: str = "") -> Revocations:
    return Revocations([Revocation(subject=subject, revoked_utc=NOW, reason=reason)])


def test_a_serial_is_that_certificate_and_no_other() -> None:
    words = r"n1: its certificate a1 was revoked at 2026-06-01T12:00:00.*\(lost\).*join-token --node n1"
    with pytest.raises(Denied, match=words):
        by("a1", "lost").check(peer())
    by("a1").check(peer(serial="a2"))


def test_a_name_is_what_was_issued_until_then_tokens_included() -> None:
    revoked = by("heliotrope://lab/node/n1")
    for old in (peer(), peer(serial="b2"), peer(after_s=0), peer(Role.JOINER)):
        with pytest.raises(Denied, match="was revoked"):
            revoked.check(old)
    for fine in (peer(after_s=1), peer(member="n2"), peer(Role.OPERATOR), peer(Role.JOINER, after_s=1)):
        revoked.check(fine)


def test_of_two_for_one_name_the_later_counts() -> None:
    first = Revocation(subject="heliotrope://lab/node/n1", revoked_utc=NOW)
    second = Revocation(subject="heliotrope://lab/node/n1", revoked_utc=NOW + timedelta(hours=1))
    for order in ([first, second], [second, first]):
        assert Revocations(order).entries == (second,)
    assert Revocations([first]) != Revocations([second])


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("A1B2", "a1b2"),
        ("0x00a1", "a1"),
        (" node/n1 ", "heliotrope://lab/node/n1"),
        ("observer/olga", "heliotrope://lab/observer/olga"),
        ("heliotrope://lab/operator/ann", "heliotrope://lab/operator/ann"),
    ],
)
def test_subjects(text: str, subject: str) -> None:
    assert parse_subject(text, "lab") == subject


@pytest.mark.parametrize(
    "text", ["", "n1", "king/n1", "node/", "heliotrope://other/node/n1", "coordinator/main", "f" * 41]
)
def test_subjects_that_are_none(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"field|cannot read the name"):
        parse_subject(text, "lab")


def test_the_authoritys_record(tmp_path: Path) -> None:
    ca = authority.create(tmp_path / "ca", "lab")
    serial = ca.issue(Role.AGENT, "n1").serial
    ca.revoke(serial, reason="sold")
    ca.revoke("node/n2")
    reopened: Authority = authority.open(tmp_path / "ca")
    assert [(entry.subject, entry.reason) for entry in reopened.revoked()] == [
        (serial, "sold"),
        ("heliotrope://lab/node/n2", ""),
    ]
    with pytest.raises(NotFound, match="signed no such serial"):
        ca.revoke("abc123")
