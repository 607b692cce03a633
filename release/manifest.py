"""What is in a bundle, said inside of it: MANIFEST.json for people and scanners, SHA256SUMS for sha256sum."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from .floor import Found
from .interpreter import Interpreter
from .sources import sha256
from .target import GLIBC_FLOOR, Target
from .wheels import Component

MANIFEST = "MANIFEST.json"
CHECKSUMS = "SHA256SUMS"


def write(
    home: Path, version: str, target: Target, interpreter: Interpreter, packages: Sequence[Component], found: Found
) -> None:
    """Both files; the checksums last, since they cover the manifest."""
    described = {
        "heliotrope": version,
        "arch": target.arch,
        "glibc_floor": _dotted(GLIBC_FLOOR),
        "glibc_newest": {"version": _dotted(found.glibc), "file": found.file},
        "libraries_of_the_machine": found.libraries,
        "binary_count": found.file_count,
        "python": {"version": interpreter.name.removeprefix("python"), **interpreter.facts},
        "packages": [asdict(package) for package in packages],
    }
    (home / MANIFEST).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    files = [path for path in sorted(home.rglob("*")) if path.is_file() and not path.is_symlink()]
    lines = [f"{sha256(path)}  {path.relative_to(home)}\n" for path in files if path.name != CHECKSUMS]
    (home / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
