"""Collects the text that train_numpy.py learns from: the Python standard library's own sources.

Run at submission, so that the text is a file of the job and travels with it. The same Python gives the same bytes:
files in the order of their names, cut after the last whole line within the limit.

    python collect_corpus.py --output corpus.txt --limit-bytes 2000000
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

# Not the library's own text, or made at build time and different on every distribution.
_LEFT_OUT = {"__pycache__", "dist-packages", "site-packages", "test", "tests", "idlelib", "lib2to3", "ensurepip"}


def sources(library: Path) -> Iterator[Path]:
    """The library's .py files, in the order of their relative names."""
    found = []
    for path in library.rglob("*.py"):
        name = path.relative_to(library)
        if (
            not _LEFT_OUT & set(name.parts[:-1])
            and not path.name.startswith("_sysconfigdata")
            and not path.is_symlink()
        ):
            found.append((name.as_posix(), path))
    return (path for _, path in sorted(found))


def collect(output: Path, *, limit_bytes: int = 2_000_000, library: Path | None = None) -> int:
    """Write the corpus to ``output`` (by rename) and return its size in bytes, at most ``limit_bytes``.

    ``library`` is the folder to read, by default the running Python's standard library. Raises FileNotFoundError
    when it holds no sources, ValueError when the limit does not hold one line.
    """
    library = library or Path(sysconfig.get_path("stdlib"))
    text = bytearray()
    for path in sources(library):
        text += path.read_bytes()
        if len(text) > limit_bytes:
            break
    if not text:
        raise FileNotFoundError(f"cannot collect a corpus: {library} holds no .py files; install Python's sources")
    if len(text) > limit_bytes:
        del text[text.rfind(b"\n", 0, limit_bytes) + 1 :]
    if not text:
        raise ValueError(f"cannot collect a corpus: limit_bytes {limit_bytes} is less than a line; raise it")
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        temporary.write_bytes(text)
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    return len(text)


def main() -> int:
    parser = argparse.ArgumentParser(description="Collect the standard library's sources into one text.")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("corpus.txt"))
    parser.add_argument("--limit-bytes", type=int, default=2_000_000)
    options = parser.parse_args()
    try:
        size_bytes = collect(options.output, limit_bytes=options.limit_bytes)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    digest = hashlib.sha256(options.output.read_bytes()).hexdigest()
    print(f"{options.output}: {size_bytes} bytes, sha256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
