"""``heliotrope ca``: from nothing to identities that load, in people's and in programs' words."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from heliotrope.cli.main import cli, run
from heliotrope.foundation import identity, jointoken
from heliotrope.foundation.identity import Name, Role

Capture = pytest.CaptureFixture[str]


def _invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["ca", *arguments])


def _object(*arguments: str) -> dict[str, object]:
    result = _invoke(*arguments, "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert isinstance(value, dict)
    return value


@pytest.fixture
def fleet_ca(tmp_path: Path) -> str:
    folder = str(tmp_path / "fleet-ca")
    assert _invoke("init", folder, "--fleet", "lab").exit_code == 0
    return folder


@pytest.mark.parametrize("role", identity.MEMBERS)
def test_an_issued_identity_loads(fleet_ca: str, tmp_path: Path, role: Role) -> None:
    out = tmp_path / "member"
    shown = _object("issue", "--ca", fleet_ca, "--role", role.value, "--id", "m1", "--out", str(out), "--days", "7")
    loaded = identity.load(out)
    assert loaded.name == Name("lab", role, "m1")
    assert shown == {
        "name": str(loaded.name),
        "role": role.value,
        "id": "m1",
        "folder": str(out),
        "serial": shown["serial"],
        "not_before_utc": shown["not_before_utc"],
        "expires_utc": shown["expires_utc"],
    }
    assert datetime.fromisoformat(str(shown["expires_utc"])) == loaded.expires_utc


def test_show_lists_what_was_issued(fleet_ca: str, tmp_path: Path) -> None:
    before = _object("show", fleet_ca)
    assert before["fleet"] == "lab" and before["issued"] == []
    issued = _object("issue", "--ca", fleet_ca, "--role", "agent", "--id", "n1", "--out", str(tmp_path / "n1"))
    after = _object("show", fleet_ca)
    assert set(after) == {"fleet", "folder", "fingerprint_sha256", "not_before_utc", "expires_utc", "issued", "revoked"}
    expected = {key: issued[key] for key in ("serial", "name", "not_before_utc", "expires_utc")}
    assert after["issued"] == [{"version": 1, **expected}]
    assert {**after, "issued": []} == before


def test_people_see_the_same(fleet_ca: str, tmp_path: Path) -> None:
    assert "no certificates issued yet" in _invoke("show", fleet_ca).stdout
    printed = _invoke("issue", "--ca", fleet_ca, "--role", "agent", "--id", "n1", "--out", str(tmp_path / "n1")).stdout
    shown = _object("show", fleet_ca)
    text = _invoke("show", fleet_ca).stdout
    assert str(shown["fingerprint_sha256"]) in text
    assert "heliotrope://lab/node/n1" in text and "heliotrope://lab/node/n1" in printed
    assert "\x1b" not in text, "no colours when not on a terminal"
    assert all(line == line.rstrip() for line in text.splitlines())


def test_init_prints_its_contract(tmp_path: Path) -> None:
    made = _object("init", str(tmp_path / "ca"), "--fleet", "lab")
    assert set(made) == {"fleet", "folder", "fingerprint_sha256", "not_before_utc", "expires_utc"}
    assert len(str(made["fingerprint_sha256"])) == 64


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"--id": "N1"}, 2, "field id: 'N1' is not an id; use"),
        ({"--id": "../n1"}, 2, "field id"),
        ({"--days": "0"}, 2, "field days: 0 is outside 1.."),
        ({"--days": "many"}, 2, "'--days'"),
        ({"--role": "king"}, 2, "'--role'"),
        ({"--ca": "nowhere"}, 3, "cannot read nowhere/ca.key: no such file"),
        ({"--out": "used"}, 4, "cannot write used: it is already in use"),
        ({"--address": "coordinator.heliotrope.internal"}, 2, "field addresses"),
    ],
)
def test_a_refused_issue_changes_nothing(
    fleet_ca: str,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    code: int,
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("used").mkdir()
    Path("used/precious").write_text("data")
    before = _files(tmp_path)
    options = {"--ca": fleet_ca, "--role": "agent", "--id": "n1", "--out": "n1", **change}
    assert run(["ca", "issue", *(part for pair in options.items() for part in pair)]) == code
    out, err = capsys.readouterr()
    assert out == "" and text in err
    assert _files(tmp_path) == before


def test_init_refuses_what_it_should(fleet_ca: str, tmp_path: Path, capsys: Capture) -> None:
    before = _files(tmp_path)
    assert run(["ca", "init", fleet_ca, "--fleet", "lab"]) == 4
    assert run(["ca", "init", str(tmp_path / "new"), "--fleet", "Not A Name"]) == 2
    assert "field fleet: 'Not A Name'" in capsys.readouterr().err
    assert run(["ca", "init", "/proc/x", "--fleet", "lab"]) == 2
    assert _files(tmp_path) == before


def test_a_loose_key_is_refused(fleet_ca: str, capsys: Capture) -> None:
    (Path(fleet_ca) / "ca.key").chmod(0o644)
    assert run(["ca", "show", fleet_ca]) == 6
    assert "run: chmod 0600" in capsys.readouterr().err


def test_a_damaged_record_is_named(fleet_ca: str, tmp_path: Path, capsys: Capture) -> None:
    _object("issue", "--ca", fleet_ca, "--role", "agent", "--id", "n1", "--out", str(tmp_path / "n1"))
    (record,) = (Path(fleet_ca) / "issued").iterdir()
    record.write_text("{")
    assert run(["ca", "show", fleet_ca]) == 8
    assert str(record) in capsys.readouterr().err


def test_the_walk_of_the_guide_as_processes(tmp_path: Path) -> None:
    """Every command of docs/cli.md's section on certificates, as written there."""
    guide = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    commands = [line.split()[1:] for line in guide.splitlines() if line.startswith("    heliotrope ca ")]
    assert len(commands) == 7
    for command in commands:
        program = [sys.executable, "-c", "from heliotrope.cli.main import main; main()", *command]
        done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout
    names = {identity.load(tmp_path / f"identity-{member}").name for member in ("main", "node1", "alice")}
    assert names == {
        Name("lab", Role.COORDINATOR, "main"),
        Name("lab", Role.AGENT, "node1"),
        Name("lab", Role.OPERATOR, "alice"),
    }


def test_a_join_token_is_a_secret_file_or_a_line(fleet_ca: str, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "n1.token"
    shown = _object("join-token", "--ca", fleet_ca, "--node", "n1", "--site", "valley", "--out", str(out))
    assert set(shown) == {"name", "file", "serial", "expires_utc"}
    assert out.stat().st_mode & 0o777 == 0o600
    token = jointoken.unpack(out.read_text(), now_utc=datetime.now(UTC))
    assert (str(token.name), token.site) == (shown["name"], "valley") == ("heliotrope://lab/node/n1", "valley")
    line = _invoke("join-token", "--ca", fleet_ca, "--node", "n2").stdout
    assert jointoken.unpack(line, now_utc=datetime.now(UTC)).name.id == "n2" and line.count("\n") == 1
    before = _files(tmp_path)
    for arguments, code, text in (
        (["--node", "n1", "--out", str(out)], 4, "it exists"),
        (["--node", "N1"], 2, "field id"),
        (["--node", "n1", "--valid-s", "0"], 2, "field valid_s"),
        (["--node", "n1", "--json"], 2, "field --json"),
    ):
        assert run(["ca", "join-token", "--ca", fleet_ca, *arguments]) == code
        assert text in capsys.readouterr().err
    assert _files(tmp_path) == before


def test_a_revocation_is_on_record(fleet_ca: str, tmp_path: Path, capsys: Capture) -> None:
    issued = _object("issue", "--ca", fleet_ca, "--role", "agent", "--id", "n1", "--out", str(tmp_path / "n1"))
    by_serial = _object("revoke", "--ca", fleet_ca, "--serial", str(issued["serial"]), "--reason", "sold")
    by_name = _object("revoke", "--ca", fleet_ca, "--name", "operator/ann")
    assert by_serial["subject"] == issued["serial"] and by_name["subject"] == "heliotrope://lab/operator/ann"
    assert _object("show", fleet_ca)["revoked"] == [by_serial, by_name]
    assert "sold" in _invoke("show", fleet_ca).stdout
    for arguments, code in ((["--serial", "abc"], 3), ([], 2), (["--name", "n1"], 2), (["--name", "coordinator/m"], 2)):
        assert run(["ca", "revoke", "--ca", fleet_ca, *arguments]) == code
    assert "agents learn of revocations" in capsys.readouterr().err
