"""Names and identities: what is read back equals what was issued, and every flaw is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.foundation import authority, certificates, identity
from heliotrope.foundation.authority import Authority
from heliotrope.foundation.clock import Clock, SystemClock
from heliotrope.foundation.errors import Conflict, Denied, HeliotropeError, InvalidInput, NotFound
from heliotrope.foundation.identity import Name, Role

ids = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", fullmatch=True)
fleets = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", fullmatch=True)


@given(fleet=fleets, role=st.sampled_from(Role), member_id=ids)
def test_a_name_survives_its_uri(fleet: str, role: Role, member_id: str) -> None:
    name = Name(fleet, role, member_id)
    assert Name.parse(str(name)) == name


def test_an_agent_is_a_node_in_its_uri() -> None:
    assert str(Name("lab", Role.AGENT, "n1")) == "heliotrope://lab/node/n1"
    assert str(Name("lab", Role.OPERATOR, "ann")) == "heliotrope://lab/operator/ann"


@given(st.text())
def test_other_texts_are_refused_or_read_exactly(text: str) -> None:
    for uri in (text, f"heliotrope://{text}", f"heliotrope://lab/node/{text}", f"heliotrope://lab/{text}/n1"):
        try:
            name = Name.parse(uri)
        except InvalidInput:
            continue
        assert str(name) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "lab/node/n1",
        "https://lab/node/n1",
        "heliotrope://lab",
        "heliotrope://lab/agent/n1",
        "heliotrope://lab/node/n1/x",
        "heliotrope://lab/node/",
        "heliotrope://lab/node/n1\n",
        "heliotrope://lab/node/n1\x00",
        "heliotrope://lab/node/..",
        "HELIOTROPE://lab/node/n1",
        "heliotrope://user@lab/node/n1",
    ],
)
def test_near_misses_are_refused(uri: str) -> None:
    with pytest.raises(InvalidInput):
        Name.parse(uri)


def test_an_identity_loads_as_issued(lab: Authority, tmp_path: Path) -> None:
    made = lab.issue(Role.AGENT, "n1", days=10)
    made.save(tmp_path / "n1")
    loaded = identity.load(tmp_path / "n1")
    assert loaded.name == made.name == Name("lab", Role.AGENT, "n1")
    assert loaded.expires_utc == made.expires_utc
    assert (loaded.ca_pem, loaded.certificate_pem, loaded.key_pem) == (made.ca_pem, made.certificate_pem, made.key_pem)
    assert loaded.key_path.stat().st_mode & 0o777 == 0o600
    for shown in (repr(loaded), repr(made)):
        assert "PRIVATE" not in shown
        assert made.key_pem.decode().splitlines()[1] not in shown


def test_a_used_folder_is_not_overwritten(lab: Authority, tmp_path: Path) -> None:
    made = lab.issue(Role.AGENT, "n1")
    (tmp_path / "in-use").mkdir()
    (tmp_path / "in-use" / "precious").write_text("data")
    (tmp_path / "file").write_text("data")
    (tmp_path / "dangling").symlink_to(tmp_path / "in-use" / "precious")
    for name in ("in-use", "file", "dangling"):
        with pytest.raises(Conflict, match="already in use"):
            made.save(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "file", "in-use"]
    made.save(tmp_path / "new" / "deeper")
    (tmp_path / "empty").mkdir()
    made.save(tmp_path / "empty")
    assert identity.load(tmp_path / "empty").name == identity.load(tmp_path / "new" / "deeper").name


def test_an_unwritable_place_is_named(lab: Authority) -> None:
    with pytest.raises(InvalidInput, match=r"cannot write /proc/heliotrope-test/n1: .*; choose a folder"):
        lab.issue(Role.AGENT, "n1").save(Path("/proc/heliotrope-test/n1"))


def _other_key(folder: Path) -> None:
    stranger = authority.open(folder.parent / "ca").issue(Role.AGENT, "n1")
    (folder / "identity.key").write_bytes(stranger.key_pem)


def _other_ca(folder: Path) -> None:
    (folder / "ca.crt").write_bytes(authority.create(folder.parent / "other", "lab").ca_pem)


def _leaf_as_ca(folder: Path) -> None:
    (folder / "ca.crt").write_bytes((folder / "identity.crt").read_bytes())


def _two_certificates(folder: Path) -> None:
    with open(folder / "ca.crt", "ab") as file:
        file.write((folder / "identity.crt").read_bytes())


def _mode(bits: int) -> Callable[[Path], None]:
    return lambda folder: (folder / "identity.key").chmod(bits)


def _text(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("spoil", "kind", "text"),
    [
        (lambda folder: (folder / "identity.key").unlink(), NotFound, r"identity\.key: no such file"),
        (lambda folder: (folder / "identity.crt").unlink(), NotFound, r"identity\.crt: no such file"),
        (lambda folder: (folder / "ca.crt").unlink(), NotFound, r"ca\.crt: no such file"),
        (_mode(0o640), Denied, r"identity\.key: others may access it \(mode 0640\); run: chmod 0600"),
        (_mode(0o604), Denied, "mode 0604"),
        (_mode(0o620), Denied, "mode 0620"),
        (_text("identity.key", "nonsense"), InvalidInput, "not an unencrypted PEM private key"),
        (_text("identity.crt", "nonsense"), InvalidInput, "not a PEM certificate"),
        (_text("ca.crt", ""), InvalidInput, r"ca\.crt"),
        (_two_certificates, InvalidInput, "holds 2 certificates"),
        (_other_key, InvalidInput, "not the key of"),
        (_other_ca, Denied, "not signed by this authority"),
        (_leaf_as_ca, Denied, "is no authority"),
    ],
)
def test_every_flaw_is_named(
    tmp_path: Path, spoil: Callable[[Path], object], kind: type[HeliotropeError], text: str
) -> None:
    authority.create(tmp_path / "ca", "lab").issue(Role.AGENT, "n1").save(tmp_path / "n1")
    spoil(tmp_path / "n1")
    with pytest.raises(kind, match=text):
        identity.load(tmp_path / "n1")


def test_a_missing_folder_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="make it with `heliotrope ca`"):
        identity.load(tmp_path / "nowhere")


def test_validity_is_judged_by_the_given_clock(tmp_path: Path, clock_at: Callable[..., Clock]) -> None:
    made = authority.create(tmp_path / "ca", "lab", clock=clock_at(2024, 1, 1))
    made.issue(Role.AGENT, "n1", days=10).save(tmp_path / "n1")
    assert identity.load(tmp_path / "n1", clock=clock_at(2024, 1, 10)).name.id == "n1"
    assert identity.load(tmp_path / "n1", clock=clock_at(2023, 12, 31, 23, 55)).name.id == "n1", "five minutes back"
    with pytest.raises(Denied, match="expired at 2024-01-11"):
        identity.load(tmp_path / "n1", clock=clock_at(2024, 1, 11))
    with pytest.raises(Denied, match=r"valid from 2023-12-31T23:55.*clock says 2023-12-31T23:54.*set the clock"):
        identity.load(tmp_path / "n1", clock=clock_at(2023, 12, 31, 23, 54))
    with pytest.raises(Denied, match="expired"):
        identity.load(tmp_path / "n1")


def test_a_name_of_another_fleet_under_this_authority_is_denied(tmp_path: Path) -> None:
    lab = authority.create(tmp_path / "ca", "lab")
    key = certificates.parse_key(identity.read_private(tmp_path / "ca" / "ca.key"), "ca.key")
    Authority(lab.folder, "elsewhere", lab.certificate, key, SystemClock()).issue(Role.AGENT, "n1").save(
        tmp_path / "n1"
    )
    with pytest.raises(Denied, match="names fleet elsewhere under the authority of lab"):
        identity.load(tmp_path / "n1")
