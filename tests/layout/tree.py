"""The repository as files: what the layout tests walk."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

# Folder at the root -> the package it ships as.
ROOMS = {
    "agent": "heliotrope.agent",
    "cli": "heliotrope.cli",
    "coordinator": "heliotrope.coordinator",
    "examples": "heliotrope.examples",
    "foundation": "heliotrope.foundation",
    "job": "heliotrope.job",
    "native": "heliotrope.native",
    "proto/heliotrope/v1": "heliotrope.v1",
    "systemd": "heliotrope.systemd",
}
GENERATED = "_pb2"


@cache
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def modules(*folders: str) -> Iterator[Path]:
    """Every module below the folders (default: all rooms) that was written by hand."""
    for folder in folders or ROOMS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if GENERATED not in path.name:
                yield path


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def name_of(path: Path) -> str:
    """The full name of a module: ``agent/power/__init__.py`` is ``heliotrope.agent.power``; else its path with dots."""
    relative = path.relative_to(ROOT).with_suffix("")
    parts = list(relative.parts)
    for room, package in ROOMS.items():
        if relative.is_relative_to(room):
            parts = [package, *relative.relative_to(room).parts]
    return ".".join(parts).removesuffix(".__init__")


@cache
def tracked() -> tuple[Path, ...]:
    """What git has or would take; without git (a source archive), what lies here and is not made here."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        names = listed.stdout.decode().strip("\0").split("\0")
        return tuple(ROOT / name for name in sorted(set(names)) if (ROOT / name).is_file())
    made = {".git", ".venv", ".venv-torch", "build", "dist", "__pycache__"}
    made |= {".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "heliotrope.egg-info"}
    return tuple(
        path
        for path in sorted(ROOT.rglob("*"))
        if path.is_file() and path.suffix != ".so" and not made.intersection(path.relative_to(ROOT).parts)
    )
