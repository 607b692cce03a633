"""What pyproject.toml lists is what is there: packages, their folders, the type checkers' links, the errors' names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from .tree import ROOMS, ROOT, modules, pyproject, tracked

TEXT_SUFFIXES = {".c", ".h", ".html", ".json", ".md", ".proto", ".py", ".pyi", ".pyx", ".service", ".toml", ".txt", ""}
# Home folders and build places of some machine. System paths that every machine has (/etc, /var/lib, /run) are fine.
SOMEBODYS_PATH = re.compile(r"(?<![\w./})*-])/(?:(?:home|work|Users|workspace|mnt)/\w|root/\.\w)")


def setuptools() -> dict[str, Any]:
    found: dict[str, Any] = pyproject()["tool"]["setuptools"]
    return found


def packages_found() -> dict[str, str]:
    """Package -> folder, from the folders: every one that holds a module."""
    found = {}
    for room, package in ROOMS.items():
        for folder in {path.parent for path in (ROOT / room).rglob("*.py")}:
            inside = folder.relative_to(ROOT / room).parts
            found[".".join([package, *inside])] = folder.relative_to(ROOT).as_posix()
    return found


def test_every_typed_folder_is_a_room() -> None:
    found = {path.parent.name for path in ROOT.glob("*/py.typed")}
    assert found == {room for room in ROOMS if "/" not in room}, "name the room in tests/layout/tree.py"


def test_the_package_list_equals_the_folders() -> None:
    listed = setuptools()["packages"]
    assert listed == sorted(packages_found()), "edit packages in pyproject.toml, sorted"


def test_the_package_directories_equal_the_folders() -> None:
    assert setuptools()["package-dir"] == packages_found(), "edit package-dir in pyproject.toml"


def test_every_package_has_an_init() -> None:
    """Without one a folder would be a namespace that setuptools and type checkers treat differently."""
    assert not [folder for folder in packages_found().values() if not (ROOT / folder / "__init__.py").is_file()]


def test_every_top_package_is_typed() -> None:
    assert not [room for room in ROOMS if not (ROOT / room / "py.typed").is_file()]


def test_no_root_package_shadows_the_installed_one() -> None:
    assert not (ROOT / "heliotrope").exists()
    assert not (ROOT / "typings" / "heliotrope" / "__init__.py").exists()


def test_the_links_for_type_checkers_equal_the_folders() -> None:
    links = {path.name: path for path in (ROOT / "typings" / "heliotrope").iterdir()}
    assert {f"heliotrope.{name}" for name in links} == set(ROOMS.values())
    for room, package in ROOMS.items():
        link = links[package.removeprefix("heliotrope.")]
        assert link.is_symlink() and not link.readlink().is_absolute()
        assert link.resolve() == (ROOT / room).resolve()


def test_the_console_script_exists() -> None:
    for target in pyproject()["project"]["scripts"].values():
        module, _, name = target.partition(":")
        room = next(room for room, package in ROOMS.items() if module.startswith(f"{package}."))
        path = ROOT / room / Path(*module.removeprefix(f"{ROOMS[room]}.").split(".")).with_suffix(".py")
        assert re.search(rf"^def {name}\(", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_a_dependency_of_the_package_is_described() -> None:
    """Anything added says in docs/dependencies.md what it is for and what was weighed against it."""
    project = pyproject()["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {match.group() for text in wanted if (match := re.match(r"[\w.-]+", text))} - {"heliotrope"}
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^\| `([\w.-]+)`", text, re.MULTILINE))
    assert names == described


def test_files_stay_small() -> None:
    """No room grows a god file (STYLE.md: the tail decides): 400 lines, generated code apart."""
    paths = list(modules(*ROOMS, "tests", "benchmarks"))
    paths += [path for path in (ROOT / "native").iterdir() if path.suffix in (".c", ".h", ".pyx")]
    long = [str(path.relative_to(ROOT)) for path in paths if path.read_text(encoding="utf-8").count("\n") > 400]
    assert not long


@pytest.mark.parametrize(
    ("text", "found"),
    [("see /home/ann/x", True), ("under /work/x", True), ("{folder}/work/x", False), ("jobs/JOB/work/x", False)],
)
def test_somebodys_paths_are_recognised(text: str, found: bool) -> None:
    assert bool(SOMEBODYS_PATH.search(text)) is found


def test_no_file_names_somebodys_machine() -> None:
    own = Path(__file__).resolve()
    wrong = []
    for path in tracked():
        if path.suffix in TEXT_SUFFIXES and path.resolve() != own and not path.is_symlink():
            text = path.read_text(encoding="utf-8", errors="replace")
            if match := SOMEBODYS_PATH.search(text):
                wrong.append(f"{path.relative_to(ROOT)}: {match.group()}")
            if len(ROOT.parts) > 2 and str(ROOT) in text:
                wrong.append(f"{path.relative_to(ROOT)}: {ROOT}")
    assert not wrong
