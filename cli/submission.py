"""A job on its way in: the job file is read, and its files become an archive that depends on nothing but them."""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from blake3 import blake3

from heliotrope.foundation import config, jobspec
from heliotrope.foundation.errors import InvalidInput, OutOfSpace
from heliotrope.foundation.jobspec import JobSpec

from . import ignoring
from .ignoring import IgnoreRules

if TYPE_CHECKING:
    from typing_extensions import Buffer

PIECE_BYTES = 1024**2
LIMIT_BYTES = 1024**3  # a mistake is larger than this more often than a job's code is
LARGEST_NAMED = 5


def read(path: Path, overrides: Sequence[str] = ()) -> JobSpec:
    """The checked job file with ``key=value`` overrides laid over it (``policy.alpha=0.2``, ``name=other``).

    Raises InvalidInput naming the file (or --set) and the field.
    """
    table = config.read_table(path)
    for override in overrides:
        _lay_over(table, override)
    where = f"{path} with --set" if overrides else str(path)
    return jobspec.from_table(table, where=where)


def _lay_over(table: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    *parents, last = key.split(".")
    if not equals or not last or not all(parents):
        raise InvalidInput(f"--set {override!r} is not KEY=VALUE; write for instance --set policy.alpha=0.2")
    for name in parents:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise InvalidInput(f"--set {override!r}: {name} is not a table in the job file; check the key")
    table[last] = _value(text)


def _value(text: str) -> Any:
    """As in a TOML file; what is no TOML value is a string, so that strings need no second pair of quotes."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text


def collect(folder: Path, patterns: Iterable[str], ignore: IgnoreRules | None = None) -> dict[str, Path]:
    """What a job file's ``files`` name: archive name -> path, sorted. Folders come with everything below them but what
    ``ignore`` (default: the folder's own rules) leaves behind.

    Raises InvalidInput naming the pattern that matches nothing or leaves the folder, and the file that is neither a
    file, a folder nor a relative link to something among the files.
    """
    root = folder.resolve()
    ignore = ignore or ignoring.load(root)
    found: dict[str, Path] = {}
    for pattern in patterns:
        for path in _matches(root, pattern, ignore):
            for inner in _with_contents(root, path, ignore):
                found[inner.relative_to(root).as_posix()] = inner
    found.pop(".", None)  # the folder itself, from files = ["."]
    collected = dict(sorted(found.items()))
    for name, path in collected.items():
        _check_entry(name, path, collected)
    return collected


def _matches(root: Path, pattern: str, ignore: IgnoreRules) -> list[Path]:
    relative = PurePosixPath(pattern)
    if relative.is_absolute() or ".." in relative.parts:
        raise InvalidInput(f"field files: {pattern!r} leaves the job file's folder; name a path inside it")
    literal = root / relative
    matches = [literal] if os.path.lexists(literal) else sorted(root.glob(pattern))
    if not matches:
        raise InvalidInput(f"field files: {pattern!r} matches nothing in {root}; check its spelling, or make the file")
    for match in matches:
        for parent in match.relative_to(root).parents:
            if (root / parent).is_symlink():
                raise InvalidInput(
                    f"field files: {pattern!r} goes through the link {parent}; name the files where they really are"
                )
    kept = [match for match in matches if not _why_ignored(root, match, ignore)]
    if not kept:
        why = _why_ignored(root, matches[0], ignore)
        raise InvalidInput(
            f"field files: {pattern!r} is ignored by {why}; leave it out, or take it back with a line "
            f"'!{matches[0].relative_to(root).as_posix()}' in {ignoring.IGNORE_FILE}"
        )
    return kept


def _why_ignored(root: Path, path: Path, ignore: IgnoreRules) -> str:
    name = path.relative_to(root).as_posix()
    return "" if name == "." else ignore.why(name, is_folder=path.is_dir() and not path.is_symlink())


def _with_contents(root: Path, path: Path, ignore: IgnoreRules) -> Iterator[Path]:
    yield path
    if path.is_symlink() or not path.is_dir():
        return

    def fail(error: OSError) -> None:
        raise InvalidInput(f"field files: cannot read {error.filename}: {error.strerror}; leave it out") from error

    for here, folders, files in os.walk(path, onerror=fail):
        folders[:] = [name for name in folders if not _why_ignored(root, Path(here, name), ignore)]
        yield from (Path(here, name) for name in folders)
        yield from (Path(here, name) for name in files if not _why_ignored(root, Path(here, name), ignore))


def sizes(collected: dict[str, Path]) -> dict[str, int]:
    """The bytes that each entry adds to the archive; nothing for folders and links."""
    found = {}
    for name, path in collected.items():
        status = path.lstat()
        found[name] = status.st_size if stat.S_ISREG(status.st_mode) else 0
    return found


def check_size(collected: dict[str, Path], limit_bytes: int) -> None:
    """Raises InvalidInput naming the largest entries when they are more than ``limit_bytes`` together."""
    by_size = sorted(sizes(collected).items(), key=lambda item: (-item[1], item[0]))
    total_bytes = sum(size_bytes for _, size_bytes in by_size)
    if total_bytes <= limit_bytes:
        return
    largest = ", ".join(f"{name} ({size_bytes} bytes)" for name, size_bytes in by_size[:LARGEST_NAMED] if size_bytes)
    raise InvalidInput(
        f"field files: {total_bytes} bytes, more than the {limit_bytes} of --limit; largest: {largest}; ignore them in "
        f"{ignoring.IGNORE_FILE}, have the nodes hold them (requires), or raise --limit"
    )


def _check_entry(name: str, path: Path, collected: dict[str, Path]) -> None:
    mode = path.lstat().st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return
    if not stat.S_ISLNK(mode):
        raise InvalidInput(f"field files: {name!r} is neither a file, a folder nor a link; leave it out")
    target = str(path.readlink())
    # Normalised by text: the link is resolved at the node, where only the archive's own entries exist.
    aim = os.path.normpath(PurePosixPath(name).parent / target)
    if PurePosixPath(target).is_absolute() or aim == ".." or aim.startswith("../"):
        raise InvalidInput(
            f"field files: {name!r} is a link to {target!r}, out of the job file's folder; copy the file"
        )
    if aim != "." and aim not in collected and not any(other.startswith(f"{aim}/") for other in collected):
        raise InvalidInput(f"field files: {name!r} is a link to {target!r}, which is not among the files; add it")


@dataclass
class Archive:
    """A tar archive in an unnamed temporary file; a context manager that removes it. ``digest`` is its BLAKE3."""

    file: IO[bytes]
    digest: bytes = b""
    size_bytes: int = 0

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self.file.close()

    def pieces(self) -> Iterator[bytes]:
        """From the beginning, ``PIECE_BYTES`` at a time."""
        self.file.seek(0)
        while piece := self.file.read(PIECE_BYTES):
            yield piece


class _Hashed(io.BufferedIOBase):
    """Where tarfile writes to: the bytes go to the file and into the digest."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.hash = blake3()
        self.size_bytes = 0

    def write(self, data: Buffer) -> int:
        self.hash.update(data)
        self.size_bytes += memoryview(data).nbytes
        return self.file.write(data)


def pack(collected: dict[str, Path]) -> Archive:
    """Uncompressed, and equal for equal files: by name, without times, owners or modes beyond "executable".

    Raises InvalidInput (a file cannot be read or changes meanwhile), OutOfSpace.
    """
    file = tempfile.TemporaryFile(prefix="heliotrope-")  # noqa: SIM115 - the archive closes it
    sink = _Hashed(file)
    try:
        with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for name, path in collected.items():
                _add(tar, name, path)
    except OSError as error:
        file.close()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfSpace(
                f"cannot pack the job's files: {error.strerror} in {tempfile.gettempdir()}; free some, or set TMPDIR"
            ) from error
        raise
    except BaseException:
        file.close()
        raise
    return Archive(file, sink.hash.digest(), sink.size_bytes)


def _add(tar: tarfile.TarFile, name: str, path: Path) -> None:
    info = tarfile.TarInfo(name)  # its defaults are what is wanted: time 0, owner 0, no names
    if path.is_symlink():
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, str(path.readlink()), 0o755
        tar.addfile(info)
        return
    if path.is_dir():
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
        return
    try:
        source = path.open("rb")
    except OSError as error:
        raise InvalidInput(f"field files: cannot read {name!r}: {error.strerror}; leave it out") from error
    with source:
        status = os.fstat(source.fileno())
        info.size, info.mode = status.st_size, 0o755 if status.st_mode & stat.S_IXUSR else 0o644
        try:
            tar.addfile(info, source)
        except OSError as error:
            if error.errno is not None:
                raise
            # tarfile says it without a number: fewer bytes came than the header announces.
            raise InvalidInput(f"field files: {name!r} became shorter while it was read; submit it again") from error
