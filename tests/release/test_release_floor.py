"""The floor's check reads what binaries really ask for, and names the file that asks for too much."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from heliotrope.foundation.errors import Incompatible, InvalidInput
from heliotrope.native import _core
from release import elf, floor
from release.target import TARGETS

HERE = next(target for target in TARGETS.values() if target.native)
OTHER = next(target for target in TARGETS.values() if not target.native)
NEWEST = (9, 99)


def built(folder: Path, name: str, source: str, *options: str) -> Path:
    made = folder / name
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", made, *options], input=source.encode(), check=True)
    return made


def test_demands_agree_with_the_machines_own_reader(tmp_path: Path) -> None:
    """readelf of binutils, which comes with every C compiler."""
    for path in (Path(_core.__file__), Path(sys.executable).resolve()):
        said = subprocess.run(["readelf", "-V", "-d", "-W", path], capture_output=True, text=True, check=True).stdout
        versions = [
            tuple(map(int, word[6:].split(".")[:2]))
            for word in said.split()
            if word.startswith("GLIBC_") and word[6].isdigit()
        ]
        needed = [line.partition("[")[2].rstrip("]") for line in said.splitlines() if "(NEEDED)" in line]
        found = elf.demands(path)
        assert (found.machine, found.glibc) == (HERE.elf_machine, max(versions))
        assert list(found.libraries) == needed


def test_a_file_beyond_the_floor_is_named(tmp_path: Path) -> None:
    built(tmp_path, "plain.so", "int one(void) { return 1; }")
    late = '#include <stdio.h>\nint say(void) { return puts("x"); }'
    built(tmp_path, "late.so", late)
    asked = elf.demands(tmp_path / "late.so").glibc
    assert asked > (0, 0)
    assert floor.check(tmp_path, HERE, floor=asked).file == "late.so"
    with pytest.raises(Incompatible, match=r"late\.so asks for glibc"):
        floor.check(tmp_path, HERE, floor=(0, 1))


def test_a_library_that_nobody_brings_is_named(tmp_path: Path) -> None:
    built(tmp_path, "libfriend.so", "int friend(void) { return 1; }", "-Wl,-soname,libfriend.so")
    user = "int friend(void); int use(void) { return friend(); }"
    built(tmp_path, "user.so", user, f"-L{tmp_path}", "-lfriend")
    assert floor.check(tmp_path, HERE, NEWEST).file_count == 2
    (tmp_path / "libfriend.so").unlink()
    with pytest.raises(Incompatible, match=r"user\.so asks for libfriend\.so"):
        floor.check(tmp_path, HERE, NEWEST)


def test_another_processors_file_is_named_and_a_tree_without_any_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Incompatible, match="no binary"):
        floor.check(tmp_path, HERE)
    built(tmp_path, "plain.so", "int one(void) { return 1; }")
    with pytest.raises(Incompatible, match=r"plain\.so is for another processor"):
        floor.check(tmp_path, OTHER, NEWEST)


@pytest.mark.parametrize("keep", [5, 63, 200])
def test_a_cut_file_is_refused_by_name(tmp_path: Path, keep: int) -> None:
    whole = built(tmp_path, "whole.so", "int one(void) { return 1; }").read_bytes()
    (tmp_path / "cut.so").write_bytes(whole[:keep])
    with pytest.raises(InvalidInput, match=r"cut\.so"):
        elf.demands(tmp_path / "cut.so")
