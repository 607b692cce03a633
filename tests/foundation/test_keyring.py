"""Replacing an identity: at no point of it may the folder hold a key without its certificate."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from heliotrope.foundation import authority, failpoints, identity, signing_request
from heliotrope.foundation.authority import Authority
from heliotrope.foundation.errors import Denied, InvalidInput
from heliotrope.foundation.failpoints import FailpointError
from heliotrope.foundation.identity import Role
from heliotrope.foundation.keyring import Keyring


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return authority.create(tmp_path / "ca", "lab")


@pytest.fixture
def folder(ca: Authority, tmp_path: Path) -> Path:
    ca.issue(Role.AGENT, "n1").save(tmp_path / "n1")
    return tmp_path / "n1"


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


def renew(keyring: Keyring, ca: Authority, name: str = "n1") -> None:
    made = ca.issue(Role.AGENT, name)
    keyring.adopt(made.certificate_pem, made.key_pem)


def test_a_renewed_identity_is_in_use_and_on_disk(ca: Authority, folder: Path) -> None:
    keyring = Keyring(folder)
    before = keyring.current

    def certify(csr_pem: bytes) -> bytes:
        certificate = ca.certify(signing_request.accept(csr_pem), before.name)
        return certificate.public_bytes(serialization.Encoding.PEM)

    made = keyring.renew(certify)
    assert made.key_pem != before.key_pem and made.serial != before.serial
    assert identity.load(folder) == made
    assert stat.S_IMODE((folder / "identity.key").stat().st_mode) == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["ca.crt", "identity.crt", "identity.key"]


@pytest.mark.parametrize("point", ["identity.replace.waiting", "identity.replace.key"])
def test_a_crash_on_the_way_leaves_a_pair_and_the_next_renewal_works(ca: Authority, folder: Path, point: str) -> None:
    for _ in range(2):  # twice, so that a replacement meets the rest of one that was cut short
        keyring = Keyring(folder)
        failpoints.arm(f"{point}=error")
        with pytest.raises(FailpointError):
            renew(keyring, ca)
        failpoints.arm("")
        found = identity.load(folder)  # loads: key and certificate fit
        assert (found.certificate_pem == keyring.current.certificate_pem) is (point == "identity.replace.waiting")
    keyring = Keyring(folder)
    renew(keyring, ca)
    assert identity.load(folder) == keyring.current
    assert not (folder / "identity.crt.next").exists()


def test_readers_meanwhile_always_find_a_pair(ca: Authority, folder: Path) -> None:
    keyring, over, failures = Keyring(folder), threading.Event(), list[Exception]()

    def read() -> None:
        while not over.is_set():
            try:
                identity.load(folder)
            except Exception as error:  # noqa: BLE001 - shown below
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(30):
        renew(keyring, ca)
    over.set()
    reader.join()
    assert not failures


def test_what_is_not_ours_is_refused_and_changes_nothing(ca: Authority, folder: Path, tmp_path: Path) -> None:
    keyring = Keyring(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(Denied, match="it is for heliotrope://lab/node/n2"):
        renew(keyring, ca, "n2")
    with pytest.raises(Denied, match="for another key"):
        keyring.adopt(ca.issue(Role.AGENT, "n1").certificate_pem, ca.issue(Role.AGENT, "n1").key_pem)
    with pytest.raises(Denied, match="not signed by this authority"):
        renew(keyring, authority.create(tmp_path / "other", "lab"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_identity_that_a_person_put_there_is_taken_up(ca: Authority, folder: Path) -> None:
    keyring = Keyring(folder)
    assert not keyring.refresh()
    made = ca.issue(Role.AGENT, "n1")
    identity.replace(folder, made.certificate_pem, made.key_pem)
    assert keyring.refresh() and keyring.current.serial == made.serial
    (folder / "identity.crt").write_text("half")
    with pytest.raises(InvalidInput):
        keyring.refresh()
    assert keyring.current.serial == made.serial
