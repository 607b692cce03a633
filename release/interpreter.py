"""The interpreter that a bundle brings: an archive of it, unpacked, checked and pruned.

The archive has the layout of python-build-standalone's ``install_only`` archives: ``python/bin/python3.X`` and
``python/lib/python3.X``, with headers. CPython finds its library from where its program lies, so any folder will do.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tarfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heliotrope.foundation.errors import Corrupt, Incompatible, InvalidInput

from .sources import sha256
from .target import Target

FACTS = "BUILT-FROM.json"  # beside bin/ and lib/ of an archive that was built here
_OLDEST = (3, 11)
# Not for a service: demonstrations, editors, tests, what links against Python, and a second package manager.
_UNUSED = ("test", "idlelib", "turtledemo", "tkinter", "ensurepip", "lib2to3", "turtle.py", "pydoc_data", "config-*")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An unpacked one. ``program``: what runs code of its version on this machine, its own where that is possible."""

    home: Path
    version: tuple[int, int]
    program: Path
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def library(self) -> Path:
        return self.home / "lib" / self.name

    @property
    def name(self) -> str:
        return f"python{self.version[0]}.{self.version[1]}"


def unpack(archive: Path, home: Path, target: Target, *, checksum: str = "", helper: Path | None = None) -> Interpreter:
    """Unpack an archive to ``home``, which must not exist, and leave out what a service never uses.

    ``helper``: a program of the same version for this machine, for a target that is another.
    Raises InvalidInput, or Corrupt when ``checksum`` (SHA-256, hexadecimal) is another.
    """
    digest = sha256(archive)
    if checksum and digest != checksum.lower():
        raise Corrupt(f"cannot use {archive}: its SHA-256 is {digest}, not {checksum}; fetch it again")
    beside = home.with_name(f"{home.name}.unpacked")
    try:
        with tarfile.open(archive) as opened:
            opened.extractall(beside, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise InvalidInput(f"field --python: cannot unpack {archive}: {error}") from error
    (beside / "python").rename(home) if (beside / "python").is_dir() else beside.rename(home)
    shutil.rmtree(beside, ignore_errors=True)
    version = _version(home, archive)
    facts: dict[str, Any] = {"archive": archive.name, "sha256": digest}
    with suppress(FileNotFoundError):
        facts |= json.loads((home / FACTS).read_text(encoding="utf-8"))
        (home / FACTS).unlink()
    name = f"python{version[0]}.{version[1]}"
    found = Interpreter(home, version, _program(home / "bin" / name, name, target, helper), facts)
    _prune(found)
    return found


def _version(home: Path, archive: Path) -> tuple[int, int]:
    found = [
        match for path in (home / "lib").glob("python3.*") if (match := re.fullmatch(r"python3\.(\d+)", path.name))
    ]
    if len(found) != 1 or not (home / "bin" / found[0].group()).exists():
        raise InvalidInput(
            f"field --python: {archive} holds no python/bin/python3.X with python/lib/python3.X; "
            "take an install_only archive of python-build-standalone"
        )
    version = (3, int(found[0][1]))
    if version < _OLDEST:
        raise InvalidInput(f"field --python: {archive} is Python 3.{version[1]}; take 3.{_OLDEST[1]} or later")
    return version


def _program(own: Path, name: str, target: Target, helper: Path | None) -> Path:
    if target.native:
        return own
    found = helper or shutil.which(name) or (sys.executable if name.endswith(f".{sys.version_info[1]}") else None)
    if found is None:
        raise Incompatible(
            f"cannot compile for {target.arch}: no {name} runs here; install it, it compiles our modules"
        )
    return Path(found)


def _prune(interpreter: Interpreter) -> None:
    unused = [path for name in _UNUSED for path in interpreter.library.glob(name)]
    unused += [*(interpreter.home / "lib").glob("*.a"), *interpreter.library.glob("site-packages/*")]
    unused += [interpreter.home / "share", interpreter.home / "lib" / "pkgconfig"]
    kept = {interpreter.name, "python3"}
    unused += [path for path in (interpreter.home / "bin").iterdir() if path.name not in kept]
    unused += [*interpreter.home.rglob("__pycache__")]
    for path in unused:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
