"""Our own part of a bundle: the Python files, and the C core compiled for the target."""

from __future__ import annotations

import sys
from pathlib import Path

from .interpreter import Interpreter
from .target import Target
from .toolchain import Toolchain, run

_FLAGS = ("-O3", "-std=c11", "-fPIC", "-shared", "-DNDEBUG", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror")
_GENERATED = Path("build/cython/native/_core.c")  # where setup.py has Cython put it


def install(root: Path, target: Target, interpreter: Interpreter, work: Path, log: Path) -> None:
    """Put the packages, their metadata and ``heliotrope.native._core`` into the interpreter's site-packages."""
    site = interpreter.library / "site-packages"
    setup = [sys.executable, "setup.py", "--quiet"]
    run([*setup, "build_py", "--build-lib", site, "--force"], cwd=root, log=log)
    run([*setup, "egg_info", "--egg-base", work, "dist_info", "--output-dir", site], cwd=root, log=log)
    _compile(root, target, interpreter, site / "heliotrope" / "native", Toolchain(target, work / "tools"), log)


def _compile(
    root: Path, target: Target, interpreter: Interpreter, folder: Path, toolchain: Toolchain, log: Path
) -> None:
    """As setup.py does it, with the target's compiler and headers."""
    major, minor = interpreter.version
    module = folder / f"_core.cpython-{major}{minor}-{target.triple}.so"
    sources = [root / _GENERATED, *sorted((root / "native").glob("*.c"))]
    headers = [root / "native", interpreter.home / "include" / interpreter.name]
    command: list[str | Path] = ["env", "zig-cc", *_FLAGS, *(f"-I{path}" for path in headers), *sources, "-o", module]
    run(command, cwd=root, log=log, environment=toolchain.environment())
