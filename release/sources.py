"""Source code out of Debian's archive, with Debian's fixes of faults on top."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .apt import Archive
from .toolchain import run


@dataclass(frozen=True, slots=True)
class Package:
    """A source package; ``patches``: which of Debian's are taken, by name. The others shape layouts, not faults."""

    name: str
    suite: str
    patches: str = r"(?:\d+-)?CVE-"


PACKAGES = (
    Package("zlib", "trixie"),
    Package("libffi", "bookworm"),  # later ones lack the configure script
    Package("sqlite3", "trixie"),
    Package("openssl", "trixie", r"(?!Configure-|c_rehash|debian-targets|man-section|no-symbolic|pic\.)"),
    Package("python3.13", "trixie", r"CVE-|ssl-|dict-use-after-free|traverse-managed-dicts"),
)


@dataclass(frozen=True, slots=True)
class Source:
    """A fetched package: every file of it with its SHA-256, and the fixes that were applied.

    ``superseded_by``: a newer version that the archive lists and did not serve; empty when this is the newest.
    """

    name: str
    version: str
    superseded_by: str
    files: dict[str, str]
    applied: tuple[str, ...]
    tree: Path


def fetch(folder: Path, log: Path, *, accept_outdated: bool) -> list[Source]:
    """Fetch and unpack every package below ``folder``. Raises as ``apt.Archive`` does."""
    archives = {suite: Archive(suite, folder / suite, log) for suite in {package.suite for package in PACKAGES}}
    found = []
    for package in PACKAGES:
        place = folder / package.name
        place.mkdir(parents=True)
        newer = archives[package.suite].download(package.name, place, accept_outdated=accept_outdated)
        found.append(_unpack(package, place, newer, log))
    return found


def _unpack(package: Package, place: Path, newer: str, log: Path) -> Source:
    files = sorted(path for path in place.iterdir() if path.is_file())
    original, debian, description = (
        _only(files, pattern) for pattern in (r".*\.orig\.tar\.\w+", r".*\.debian\.tar\.\w+", r".*\.dsc")
    )
    run(["tar", "xf", original.name], cwd=place, log=log)
    (tree,) = (path for path in place.iterdir() if path.is_dir())
    run(["tar", "xf", debian.name], cwd=place, log=log)
    applied = _patch(package, tree, place / "debian" / "patches", log)
    version = description.name.removeprefix(f"{package.name}_").removesuffix(".dsc")
    return Source(package.name, version, newer, {path.name: sha256(path) for path in files}, applied, tree)


def _only(files: Sequence[Path], pattern: str) -> Path:
    (found,) = (path for path in files if re.fullmatch(pattern, path.name))
    return found


def _patch(package: Package, tree: Path, patches: Path, log: Path) -> tuple[str, ...]:
    series = patches / "series"
    names = re.findall(r"^[^#\s]+", series.read_text(encoding="utf-8"), re.MULTILINE) if series.exists() else []
    chosen = tuple(name for name in names if re.match(package.patches, name))
    for name in chosen:
        run(["patch", "-p1", "--silent", "--no-backup-if-mismatch", "-i", patches / name], cwd=tree, log=log)
    return chosen


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
