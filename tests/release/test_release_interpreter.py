"""An interpreter that the builder brings is checked before use, and archives are the same each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from heliotrope.foundation.errors import Corrupt, Incompatible, InvalidInput
from release import interpreter
from release.archive import pack
from release.sources import sha256
from release.target import TARGETS

ROOT = Path(__file__).resolve().parents[2]
HERE = next(target for target in TARGETS.values() if target.native)
OTHER = next(target for target in TARGETS.values() if not target.native)


def archive(folder: Path, version: str = "3.99") -> Path:
    """What an archive of an interpreter looks like; its program says so."""
    tree = folder / "tree"
    for path in (f"bin/python{version}", "bin/pip3", f"lib/python{version}/os.py", f"lib/python{version}/test/x.py"):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text("#!/bin/sh\n")
    (tree / "bin" / "python3").symlink_to(f"python{version}")
    pack(tree, folder / "python.tar.gz", name="python")
    return folder / "python.tar.gz"


def test_it_is_unpacked_without_what_a_service_never_uses(tmp_path: Path) -> None:
    found = interpreter.unpack(archive(tmp_path), tmp_path / "home", HERE)
    assert (found.version, found.program) == ((3, 99), tmp_path / "home" / "bin" / "python3.99")
    kept = sorted(str(path.relative_to(found.home)) for path in found.home.rglob("*") if not path.is_dir())
    assert kept == ["bin/python3", "bin/python3.99", "lib/python3.99/os.py"]
    assert list(tmp_path.glob("*.unpacked")) == []


def test_another_checksum_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    made = archive(tmp_path)
    interpreter.unpack(made, tmp_path / "right", HERE, checksum=sha256(made).upper())
    with pytest.raises(Corrupt, match="SHA-256"):
        interpreter.unpack(made, tmp_path / "wrong", HERE, checksum="0" * 64)
    assert not (tmp_path / "wrong").exists()


def test_what_is_no_interpreter_is_refused_by_field(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    pack(tmp_path / "empty", tmp_path / "empty.tar.gz", name="python")
    (tmp_path / "text.tar.gz").write_text("not an archive")
    for name in ("empty.tar.gz", "text.tar.gz"):
        with pytest.raises(InvalidInput, match="field --python"):
            interpreter.unpack(tmp_path / name, tmp_path / name.split(".")[0] / "home", HERE)
    with pytest.raises(InvalidInput, match=r"Python 3\.9"):
        interpreter.unpack(archive(tmp_path, "3.9"), tmp_path / "old", HERE)


def test_a_foreign_one_needs_a_program_of_its_version_here(tmp_path: Path) -> None:
    with pytest.raises(Incompatible, match=r"no python3\.99 runs here"):
        interpreter.unpack(archive(tmp_path), tmp_path / "home", OTHER)


def test_the_same_files_give_the_same_archive(tmp_path: Path) -> None:
    first = archive(tmp_path).read_bytes()
    for path in (tmp_path / "tree").rglob("*"):
        path.touch()
    pack(tmp_path / "tree", tmp_path / "again.tar.gz", name="python")
    assert (tmp_path / "again.tar.gz").read_bytes() == first


def test_a_checksum_without_its_archive_is_refused() -> None:
    command = [sys.executable, "-m", "release", "--python-sha256", "0" * 64]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--python-sha256 needs --python" in done.stderr
