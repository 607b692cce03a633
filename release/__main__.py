"""``python -m release``: one archive with Heliotrope, a Python of its own and all that they need (docs/bundle.md)."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

from heliotrope.foundation.errors import HeliotropeError

from . import floor, interpreter, manifest, product, wheels
from .archive import pack
from .cpython import Workshop
from .interpreter import Interpreter
from .sources import sha256
from .target import TARGETS, Target
from .toolchain import run

ROOT = Path(__file__).resolve().parents[1]
_LAUNCHER = Path(__file__).with_name("launcher.sh")


def main() -> int:
    arguments = _arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="heliotrope-release-") as work:
            made = bundle(TARGETS[arguments.arch], arguments, Path(work).resolve())
    except HeliotropeError as error:
        print(f"release: {error}", file=sys.stderr)
        return error.exit_code
    print(made)
    return 0


def bundle(target: Target, arguments: argparse.Namespace, work: Path) -> Path:
    """The main flow; the archive's path. A second file beside it holds its SHA-256."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    home, log = work / "heliotrope", work / "release.log"
    python = _interpreter(target, arguments, home, work)
    packages = wheels.install(ROOT, target, python, work, log)
    product.install(ROOT, target, python, work, log)
    _finish(python, log)
    manifest.write(home, version, target, python, packages, floor.check(home, target))
    output: Path = arguments.output.resolve()
    archive = output / f"heliotrope-{version}-linux-{target.arch}.tar.gz"
    pack(home, archive, name="heliotrope")
    archive.with_name(f"{archive.name}.sha256").write_text(f"{sha256(archive)}  {archive.name}\n", encoding="utf-8")
    return archive


def _interpreter(target: Target, arguments: argparse.Namespace, home: Path, work: Path) -> Interpreter:
    if arguments.python:
        return interpreter.unpack(arguments.python.resolve(), home, target, checksum=arguments.python_sha256)
    workshop = Workshop(
        arguments.cache.resolve(), work, refresh=arguments.refresh, accept_outdated=arguments.accept_outdated
    )
    return interpreter.unpack(workshop.archive(target), home, target, helper=workshop.helper(target))


def _finish(python: Interpreter, log: Path) -> None:
    """The program, the licence, and the modules compiled: a service must not need to write into its own program."""
    shutil.rmtree(python.home / "include")
    shutil.copyfile(_LAUNCHER, python.home / "bin" / "heliotrope")
    (python.home / "bin" / "heliotrope").chmod(0o755)
    shutil.copyfile(ROOT / "LICENSE", python.home / "LICENSE")
    # Anew and without writing what it imports for that: a file whose time counts would be stale once it is unpacked.
    compileall = ["-I", "-B", "-m", "compileall", "-q", "-f", "-j0", "--invalidation-mode=unchecked-hash", "-s"]
    run([python.program, *compileall, python.home, python.library], cwd=python.home, log=log)


def _arguments() -> argparse.Namespace:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heliotrope-release"
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("--arch", choices=sorted(TARGETS), default=os.uname().machine, help="the kind of machine")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", metavar="DIR", help="where the archive goes")
    parser.add_argument("--python", type=Path, metavar="FILE", help="an interpreter's archive instead of a built one")
    parser.add_argument("--python-sha256", default="", metavar="HEX", help="what --python must be")
    parser.add_argument("--cache", type=Path, default=cache, metavar="DIR", help="where built interpreters are kept")
    parser.add_argument("--refresh", action="store_true", help="build the interpreter again, from today's sources")
    parser.add_argument("--accept-outdated", action="store_true", help="even from sources that lack a security update")
    arguments = parser.parse_args()
    if arguments.python_sha256 and not arguments.python:
        parser.error("--python-sha256 needs --python")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
