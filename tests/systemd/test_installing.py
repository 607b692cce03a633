"""`heliotrope install` and `uninstall` below a folder, as a packager uses them, and what they refuse."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from heliotrope.cli import installation, main
from heliotrope.cli.installation import Installation
from heliotrope.foundation.errors import InvalidInput

from .nested import ROOT

PROGRAM = "/usr/lib/heliotrope/bin/heliotrope"


def command(*words: str | Path) -> int:
    return main.run([str(word) for word in words])


def tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def actions(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    steps = json.loads(capsys.readouterr().out)["steps"]
    return {step["object"]: step["action"] for step in steps}


def staged(root: Path, *words: str) -> None:
    assert command("install", *(words or ("--agent", "--coordinator")), "--root", root, "--program", PROGRAM) == 0


def test_every_file_of_the_folder_is_installed(tmp_path: Path) -> None:
    staged(tmp_path)
    sources = {piece.source for part in installation.PARTS for piece in installation.pieces(part)}
    assert sources == {
        path.name for path in (ROOT / "systemd").iterdir() if path.suffix in (".service", ".conf", ".toml")
    }
    assert len(tree(tmp_path)) == len(sources)


def test_the_units_start_the_named_program(tmp_path: Path) -> None:
    staged(tmp_path)
    for part in installation.PARTS:
        text = (tmp_path / f"etc/systemd/system/heliotrope-{part}.service").read_text()
        assert f"ExecStart={PROGRAM} {part} --config" in text and "/opt/" not in text


def test_again_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    staged(tmp_path)
    before = tree(tmp_path)
    capsys.readouterr()
    assert command("install", "--agent", "--root", tmp_path, "--program", PROGRAM, "--json") == 0
    assert set(actions(capsys).values()) == {"unchanged"} and tree(tmp_path) == before


def test_an_upgrade_renews_the_unit_and_keeps_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    staged(tmp_path, "--agent")
    unit, edited = tmp_path / "etc/systemd/system/heliotrope-agent.service", tmp_path / "etc/heliotrope/agent.toml"
    drop_in = unit.with_name("heliotrope-agent.service.d") / "mine.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\n")
    content = unit.read_bytes()
    unit.write_text("of an older version")
    edited.write_text("mine")
    capsys.readouterr()
    assert command("install", "--agent", "--root", tmp_path, "--program", PROGRAM, "--json") == 0
    done = actions(capsys)
    assert done["/etc/systemd/system/heliotrope-agent.service"] == "updated" and unit.read_bytes() == content
    assert done["/etc/heliotrope/agent.toml"] == "kept" and edited.read_text() == "mine"
    assert drop_in.read_text() == "[Service]\n"


@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_a_dry_run_says_the_same_and_does_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    if verb == "uninstall":
        staged(tmp_path, "--agent")
    before = tree(tmp_path)
    program = ("--program", PROGRAM) if verb == "install" else ("--purge",)
    capsys.readouterr()
    assert command(verb, "--agent", "--root", tmp_path, *program, "--dry-run", "--json") == 0
    said = actions(capsys)
    assert tree(tmp_path) == before
    assert command(verb, "--agent", "--root", tmp_path, *program, "--json") == 0
    assert actions(capsys) == said and tree(tmp_path) != before


def test_others_can_read_what_is_installed(tmp_path: Path) -> None:
    """The coordinator is another account than root, whatever umask root works under."""
    before = os.umask(0o077)
    try:
        staged(tmp_path)
    finally:
        os.umask(before)
    for path in (tmp_path / "etc").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path


def test_uninstalling_leaves_configuration_and_state(tmp_path: Path) -> None:
    staged(tmp_path)
    state = tmp_path / "var/lib/heliotrope-agent/jobs/record.json"
    state.parent.mkdir(parents=True)
    state.write_text("{}")
    assert command("uninstall", "--agent", "--root", tmp_path) == 0
    left = tree(tmp_path)
    assert "etc/heliotrope/agent.toml" in left and "var/lib/heliotrope-agent/jobs/record.json" in left
    assert not [name for name in left if "agent.service" in name or name.endswith("-agent.conf")]
    assert "etc/systemd/system/heliotrope-coordinator.service" in left


def test_purging_leaves_what_the_other_part_needs(tmp_path: Path) -> None:
    staged(tmp_path)
    state = tmp_path / "var/lib/heliotrope-agent/store"
    state.mkdir(parents=True)
    assert command("uninstall", "--agent", "--purge", "--root", tmp_path) == 0
    assert not state.parent.exists() and not (tmp_path / "etc/heliotrope/agent.toml").exists()
    assert (tmp_path / "etc/heliotrope/job.toml.example").exists()
    assert command("uninstall", "--purge", "--root", tmp_path) == 0
    assert tree(tmp_path) == {} and not (tmp_path / "etc/heliotrope").exists()


def test_a_failure_half_way_leaves_nothing_half_done(tmp_path: Path) -> None:
    """The unit cannot be written: what was written before it is taken back, what was replaced is as it was."""
    files = Installation(tmp_path)
    files.place("agent", Path(PROGRAM))
    sysusers = tmp_path / "etc/sysusers.d/heliotrope-agent.conf"
    sysusers.write_text("of an older version")
    (tmp_path / "etc/tmpfiles.d/heliotrope-agent.conf").unlink()
    unit = tmp_path / "etc/systemd/system/heliotrope-agent.service"
    unit.unlink()
    unit.parent.rmdir()
    unit.parent.write_text("in the way")
    before = tree(tmp_path)
    with pytest.raises(OSError):
        files.place("agent", Path(PROGRAM))
    assert tree(tmp_path) == before


@pytest.mark.parametrize("program", ["bin/heliotrope", "/opt/helio trope/bin/x", "/opt/$HOME/x", "/opt/100%/x"])
def test_a_program_that_a_unit_cannot_name_is_refused(
    tmp_path: Path, program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("install", "--agent", "--root", tmp_path, "--program", program) == InvalidInput.exit_code
    assert "field --program" in capsys.readouterr().err and tree(tmp_path) == {}


def test_what_to_install_must_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("install", "--root", tmp_path) == InvalidInput.exit_code
    assert "--coordinator, --agent or both" in capsys.readouterr().err


def test_a_link_out_of_the_open_is_seen_through(tmp_path: Path) -> None:
    """/opt/heliotrope may be a link into a home folder: what the services open is its target."""
    (tmp_path / "link").symlink_to("/root/env")
    assert list(installation.hidden([tmp_path / "link", Path("/opt/heliotrope")])) == [tmp_path / "link"]
