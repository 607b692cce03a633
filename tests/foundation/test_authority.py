"""The authority: what its certificates say, and what it refuses."""

from __future__ import annotations

import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from heliotrope.foundation import authority, identity
from heliotrope.foundation.authority import COORDINATOR_HOST, Authority
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Conflict, Denied, HeliotropeError, InvalidInput, NotFound
from heliotrope.foundation.identity import Name, Role

ClockAt = Callable[..., Clock]


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_authority_is_private_and_opens_as_the_same(tmp_path: Path) -> None:
    made = authority.create(tmp_path / "deep" / "ca", "lab")
    assert _mode(made.folder) == 0o700
    assert _mode(made.folder / "ca.key") == 0o600
    opened = authority.open(made.folder)
    assert (opened.fleet, opened.fingerprint) == ("lab", made.fingerprint)
    assert opened.issued() == []
    assert timedelta(days=3650) <= made.expires_utc - made.not_before_utc <= timedelta(days=3650, minutes=5, seconds=1)


def test_an_authority_is_never_overwritten(tmp_path: Path) -> None:
    made = authority.create(tmp_path / "ca", "lab")
    before = {path: path.read_bytes() for path in made.folder.iterdir()}
    with pytest.raises(Conflict, match="already in use"):
        authority.create(tmp_path / "ca", "other")
    assert {path: path.read_bytes() for path in made.folder.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca"], "nothing half-done stays"


def test_of_many_creators_exactly_one_wins(tmp_path: Path) -> None:
    def attempt(number: int) -> str | None:
        try:
            return authority.create(tmp_path / "ca", f"fleet{number}").fleet
        except Conflict:
            return None

    with ThreadPoolExecutor(8) as pool:
        winners = [fleet for fleet in pool.map(attempt, range(8)) if fleet]
    assert winners == [authority.open(tmp_path / "ca").fleet]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca"]


@pytest.mark.parametrize("fleet", ["", "Lab", "-lab", "lab/x", "lab\n", "a" * 64, "lab@x"])
def test_a_bad_fleet_name_is_refused_by_field(tmp_path: Path, fleet: str) -> None:
    with pytest.raises(InvalidInput, match="field fleet"):
        authority.create(tmp_path / "ca", fleet)
    assert not list(tmp_path.iterdir())


def test_the_longest_fleet_name_works(tmp_path: Path) -> None:
    made = authority.create(tmp_path / "ca", "f" * 63)
    made.issue(Role.AGENT, "n" * 63).save(tmp_path / "node")
    assert identity.load(tmp_path / "node").name == Name("f" * 63, Role.AGENT, "n" * 63)


@pytest.mark.parametrize("role", list(Role))
def test_a_certificate_says_who_and_what_for(lab: Authority, role: Role) -> None:
    made = lab.issue(role, "m-1", days=30)
    certificate = x509.load_pem_x509_certificate(made.certificate_pem)
    extensions = certificate.extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [str(Name("lab", role, "m-1"))]
    hosts = names.get_values_for_type(x509.DNSName)
    assert hosts == ([COORDINATOR_HOST] if role is Role.COORDINATOR else [])
    serves = ExtendedKeyUsageOID.SERVER_AUTH in extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert serves == (role in (Role.AGENT, Role.COORDINATOR))
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert made.expires_utc - made.not_before_utc <= timedelta(days=30, minutes=5, seconds=1)
    assert made.not_before_utc >= lab.not_before_utc


def test_every_certificate_is_on_record_with_its_own_serial(tmp_path: Path) -> None:
    made = authority.create(tmp_path / "ca", "lab")
    serials = {made.issue(Role.AGENT, f"n{number}").serial for number in range(5)}
    records = authority.open(made.folder).issued()
    assert {record.serial for record in records} == serials
    assert len(serials) == 5
    assert {record.name for record in records} == {f"heliotrope://lab/node/n{number}" for number in range(5)}


def test_a_key_made_elsewhere_is_certified(lab: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = lab.certify(key.public_key(), Name("lab", Role.AGENT, "joined"))
    assert certificate.public_key() == key.public_key()
    with pytest.raises(InvalidInput, match="field fleet"):
        lab.certify(key.public_key(), Name("elsewhere", Role.AGENT, "joined"))


@pytest.mark.parametrize("days", [0, -1, 3650, 10**9])
def test_days_stay_inside_the_authority(lab: Authority, days: int) -> None:
    with pytest.raises(InvalidInput, match="field days"):
        lab.issue(Role.AGENT, "n1", days=days)


@pytest.mark.parametrize(
    "address", ["", "a b", "UPPER.example", "*.example", COORDINATOR_HOST, "heliotrope.internal", "heliotrope://lab/x"]
)
def test_addresses_cannot_pose_as_the_coordinator(lab: Authority, address: str) -> None:
    before = len(lab.issued())
    with pytest.raises(InvalidInput, match="field addresses"):
        lab.issue(Role.AGENT, "n1", addresses=[address])
    assert len(lab.issued()) == before


def test_addresses_become_alternative_names(lab: Authority) -> None:
    pem = lab.issue(Role.COORDINATOR, "web", addresses=["power.example", "192.0.2.7", "::1"]).certificate_pem
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [COORDINATOR_HOST, "power.example"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7", "::1"]


def test_a_clock_before_the_authority_is_told_so(tmp_path: Path, clock_at: ClockAt) -> None:
    authority.create(tmp_path / "ca", "lab")
    woken = authority.open(tmp_path / "ca", clock=clock_at(1970, 1, 1))
    with pytest.raises(Denied, match=r"this machine's clock says 1970-01-01.*set the clock"):
        woken.issue(Role.AGENT, "n1")
    assert woken.issued() == []


def test_an_expired_authority_issues_nothing(tmp_path: Path, clock_at: ClockAt) -> None:
    authority.create(tmp_path / "ca", "lab", clock=clock_at(2010, 1, 1))
    with pytest.raises(Denied, match="expired at 2019-12-30"):
        authority.open(tmp_path / "ca").issue(Role.AGENT, "n1")


def _loosen(folder: Path) -> None:
    (folder / "ca.key").chmod(0o640)


def _swap_key(folder: Path) -> None:
    authority.create(folder.parent / "stranger", "lab")
    (folder / "ca.key").write_bytes((folder.parent / "stranger" / "ca.key").read_bytes())


def _damage(folder: Path) -> None:
    (folder / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def _leaf_for_ca(folder: Path) -> None:
    made = authority.open(folder).issue(Role.AGENT, "n1")
    (folder / "ca.crt").write_bytes(made.certificate_pem)
    (folder / "ca.key").write_bytes(made.key_pem)


@pytest.mark.parametrize(
    ("spoil", "kind", "text"),
    [
        (lambda folder: (folder / "ca.key").unlink(), NotFound, "ca.key"),
        (lambda folder: (folder / "ca.crt").unlink(), NotFound, "ca.crt"),
        (_loosen, Denied, "mode 0640.*chmod 0600"),
        (_swap_key, InvalidInput, "not the key of"),
        (_damage, InvalidInput, "not a PEM certificate"),
        (_leaf_for_ca, InvalidInput, "field fleet"),
    ],
)
def test_a_spoilt_folder_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], kind: type[HeliotropeError], text: str
) -> None:
    folder = authority.create(tmp_path / "ca", "lab").folder
    spoil(folder)
    with pytest.raises(kind, match=text):
        authority.open(folder)


def test_nothing_is_issued_that_cannot_be_recorded(tmp_path: Path) -> None:
    made = authority.create(tmp_path / "ca", "lab")
    (made.folder / "issued").write_text("in the way")
    with pytest.raises(Conflict, match="nothing was issued"):
        made.issue(Role.AGENT, "n1")
