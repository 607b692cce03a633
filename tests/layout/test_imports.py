"""Imports point one way (DESIGN.md's table of folders), and nothing hides from that rule."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .tree import ROOMS, ROOT, modules, name_of, parsed

# Room -> what it may import of ours. Agent and coordinator never meet; nobody imports the command line.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "v1": frozenset(),
    "native": frozenset(),
    "job": frozenset(),
    "systemd": frozenset(),
    "foundation": frozenset({"v1"}),
    "agent": frozenset({"foundation", "native", "v1"}),
    "coordinator": frozenset({"foundation", "v1"}),
    "examples": frozenset({"job"}),
    "cli": frozenset({"agent", "coordinator", "examples", "foundation", "job", "native", "systemd", "v1"}),
}
# Where protobuf objects may be: the edges. Inside are our own structures.
WIRE_EDGES = (
    "heliotrope.foundation.model",
    "heliotrope.agent.wiring",
    "heliotrope.agent.joining",
    "heliotrope.agent.link",
    "heliotrope.agent.orders",
    "heliotrope.agent.pullprogress",
    "heliotrope.agent.session",
    "heliotrope.agent.telemetry",
    "heliotrope.coordinator.wiring",
    "heliotrope.coordinator.server",
    "heliotrope.cli",
)
# Decisions are pure: no clock, no randomness, no input or output.
IMPURE = {"asyncio", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "shutil", "socket"}
IMPURE |= {"subprocess", "sys", "tempfile", "threading", "time"}
# Modules that start other modules by name: the command line's table of verbs, and the supervisor, which is run by its
# path before it can know its package; and the port for metrics, whose library is only loaded where one is configured.
LAZY = ("heliotrope.agent.jobs.supervisor", "heliotrope.cli.main", "heliotrope.foundation.metricsport")
VAGUE_NAMES = ("common", "helper", "helpers", "misc", "util", "utils")


@dataclass(frozen=True)
class Import:
    """One import statement's target, as a full name; ``nested``: inside a function or class."""

    importer: str
    target: str
    line: int
    nested: bool
    starred: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


def imports_of(path: Path) -> Iterator[Import]:
    """All imports of a module, relative ones resolved; those for type checkers only are none at run time, but count."""
    importer = name_of(path)
    package = importer if path.name == "__init__.py" else importer.rpartition(".")[0]
    for node, nested in _statements(parsed(path).body, nested=False):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(importer, alias.name, node.lineno, nested, False)
        else:
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *filter(None, [node.module])])
            for alias in node.names:
                yield Import(importer, f"{base}.{alias.name}", node.lineno, nested, alias.name == "*")


def _statements(body: list[ast.stmt], *, nested: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for statement in body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement, nested
            continue
        inner = nested or isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for node in ast.walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield node, inner


def all_imports(*folders: str) -> list[Import]:
    return [found for path in modules(*folders) for found in imports_of(path)]


def room_of(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "heliotrope" and len(parts) > 1 else None


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_every_room_has_a_rule() -> None:
    assert {package.removeprefix("heliotrope.") for package in ROOMS.values()} == set(MAY_IMPORT)


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_imports_only_what_it_may(room: str) -> None:
    folder = next(folder for folder, package in ROOMS.items() if package == f"heliotrope.{room}")
    found = all_imports(folder)
    allowed = MAY_IMPORT[room] | {room}
    wrong = [str(one) for one in found if (target := room_of(one.target)) is not None and target not in allowed]
    assert not wrong, f"{room} may import of ours only {sorted(allowed)}"


def test_between_rooms_the_full_name() -> None:
    """``import agent`` finds a folder of ours only by the accident of the working directory."""
    tops = {folder.split("/")[0] for folder in ROOMS} | {"tests", "benchmarks"}
    wrong = [str(one) for one in all_imports() if one.target.split(".")[0] in tops]
    assert not wrong


def test_no_import_hides_in_a_function() -> None:
    """An import inside a function is a cycle in hiding; the job library is read by old interpreters, too."""
    wrong = [str(one) for one in all_imports() if one.nested and room_of(one.target) is not None]
    assert not wrong


def test_modules_are_started_by_name_only_where_documented() -> None:
    callers = set()
    for path in modules():
        names = {node.id for node in ast.walk(parsed(path)) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(parsed(path)) if isinstance(node, ast.Attribute)}
        if names & {"import_module", "__import__"}:
            callers.add(name_of(path))
    assert callers == set(LAZY)


def test_no_star_imports() -> None:
    assert not [str(one) for one in all_imports(*ROOMS, "tests", "benchmarks") if one.starred]


def test_no_vague_module_names() -> None:
    folders = [*ROOMS, "tests", "benchmarks"]
    wrong = [str(path.relative_to(ROOT)) for path in modules(*folders) if path.stem in VAGUE_NAMES]
    wrong += [str(path.parent) for path in modules(*folders) if path.parent.name in VAGUE_NAMES]
    assert not wrong


def test_protobuf_stays_at_the_edge() -> None:
    found = [one for one in all_imports() if room_of(one.target) == "v1"]
    assert found
    assert not [str(one) for one in found if not within(one.importer, WIRE_EDGES)]


def test_decisions_are_pure() -> None:
    found = all_imports("coordinator/decisions")
    assert found
    wrong = [str(one) for one in found if one.target.split(".")[0] in IMPURE]
    allowed = ("heliotrope.coordinator.decisions", "heliotrope.foundation.errors")
    wrong += [str(one) for one in found if room_of(one.target) is not None and not within(one.target, allowed)]
    assert not wrong


def test_every_module_says_what_it_is() -> None:
    """A module with code has a docstring; an empty ``__init__`` has nothing to say."""
    wrong = [
        str(path.relative_to(ROOT))
        for path in modules(*ROOMS, "tests", "benchmarks")
        if parsed(path).body and not ast.get_docstring(parsed(path))
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("import heliotrope.native", ["heliotrope.native"]),
        ("from . import a, b", ["heliotrope.agent.power.a", "heliotrope.agent.power.b"]),
        ("from ..transfer import wire as w", ["heliotrope.agent.transfer.wire"]),
        ("from .sources.nvml import *", ["heliotrope.agent.power.sources.nvml.*"]),
    ],
)
def test_the_walk_resolves(monkeypatch: pytest.MonkeyPatch, text: str, targets: list[str]) -> None:
    """The rule's own eyes: what it reads out of a statement."""
    path = ROOT / "agent" / "power" / "imagined.py"
    monkeypatch.setattr(f"{__name__}.parsed", lambda _: ast.parse(f"def f():\n    {text}\n"))
    found = list(imports_of(path))
    assert [one.target for one in found] == targets and all(one.nested for one in found)
