"""Builds CPython from source for a target and a glibc floor, once; the archive is kept for the next bundle."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from heliotrope.foundation.errors import Incompatible

from . import libraries, sources
from .archive import pack
from .interpreter import FACTS, unpack
from .sources import Source
from .target import GLIBC_FLOOR, TARGETS, Target
from .toolchain import Toolchain, make, run, zig_version

_PREFIX = "/python"  # that it is configured with; it is found again wherever it is unpacked
_ABSENT_MODULES = ("_tkinter", "_curses", "_curses_panel", "readline", "_gdbm", "_dbm", "_bz2", "_lzma", "_uuid", "nis")


class Workshop:
    """Where interpreters are built (``work``) and kept (``cache``)."""

    def __init__(self, cache: Path, work: Path, *, refresh: bool = False, accept_outdated: bool = False) -> None:
        """``refresh``: build again from today's sources; ``accept_outdated``: even from some with a newer version."""
        self._cache = cache
        self._work = work
        self._refresh = refresh
        self._accept_outdated = accept_outdated

    def archive(self, target: Target) -> Path:
        """An interpreter for ``target``: a kept one that this recipe made, else a new one. Raises HeliotropeError."""
        names = [f"python-linux-{target.arch}-{_recipe(target)}{mark}.tar.gz" for mark in ("", "-outdated")]
        usable = [self._cache / name for name in names[: 2 if self._accept_outdated else 1]]
        kept = [path for path in usable if path.exists() and not self._refresh]
        return kept[0] if kept else self._build(target, names)

    def helper(self, target: Target) -> Path | None:
        """A program of the same version for this machine, if ``target`` is of another kind.

        CPython is cross-compiled with its help, and so are modules.
        """
        if target.native:
            return None
        here = next((known for known in TARGETS.values() if known.native), None)
        if here is None:
            raise Incompatible(f"cannot build Python on {os.uname().machine}: only {', '.join(TARGETS)} are known")
        home = self._work / "helper"
        if not home.exists():
            unpack(self.archive(here), home, here)
        return home / "bin" / "python3"

    def _build(self, target: Target, names: Sequence[str]) -> Path:
        work = self._work / f"python-{target.arch}"
        work.mkdir(parents=True)
        helper, log, prefix = self.helper(target), work / "build.log", work / "libraries"
        fetched = sources.fetch(work / "sources", log, accept_outdated=self._accept_outdated)
        named = {source.name: source for source in fetched}
        toolchain = Toolchain(target, work / "tools")
        libraries.build(named, toolchain, prefix, log)
        tree, environment = _cpython(named).tree, toolchain.environment()
        _configure(tree, toolchain, prefix, helper, log)
        run(make(), cwd=tree, log=log, environment=environment)
        run(["make", "install", f"DESTDIR={work / 'installed'}"], cwd=tree, log=log, environment=environment)
        installed = work / "installed" / _PREFIX.strip("/")
        _forget(installed, work)
        (installed / FACTS).write_text(json.dumps(_facts(fetched), indent=1), encoding="utf-8")
        archive = self._cache / names[any(source.superseded_by for source in fetched)]
        pack(installed, archive, name="python")
        return archive


def _recipe(target: Target) -> str:
    """What makes two builds alike: this code, the compiler, the floor, the packages."""
    digest = hashlib.sha256(f"{target} {GLIBC_FLOOR} {zig_version()} {sources.PACKAGES}".encode())
    for name in ("cpython.py", "libraries.py", "toolchain.py"):
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()[:12]


def _cpython(fetched: Mapping[str, Source]) -> Source:
    return next(source for name, source in fetched.items() if name.startswith("python3."))


def _configure(tree: Path, toolchain: Toolchain, prefix: Path, helper: Path | None, log: Path) -> None:
    here = f"{os.uname().machine}-linux-gnu"
    links = {"LIBFFI": "-lffi", "ZLIB": "-lz", "LIBSQLITE3": "-lsqlite3 -lm -lpthread"}
    environment = toolchain.environment(
        CPPFLAGS=f"-I{prefix / 'include'}",
        LDFLAGS=f"-L{prefix / 'lib'}",
        CFLAGS="-O3",
        **{f"{name}_CFLAGS": f"-I{prefix / 'include'}" for name in links},
        **{f"{name}_LIBS": f"-L{prefix / 'lib'} {flags}" for name, flags in links.items()},
        # What a cross build cannot find out by running a program.
        ac_cv_file__dev_ptmx="yes",
        ac_cv_file__dev_ptc="no",
        ac_cv_buggy_getaddrinfo="no",
        **{f"py_cv_module_{name}": "n/a" for name in _ABSENT_MODULES},
    )
    options = [
        f"--prefix={_PREFIX}",
        f"--build={here}",
        f"--host={toolchain.target.triple}",
        f"--with-openssl={prefix}",
    ]
    options += ["--disable-shared", "--disable-test-modules", "--without-ensurepip", "--with-pkg-config=no"]
    options += [f"--with-build-python={helper}"] if helper else []
    run(["./configure", *options], cwd=tree, log=log, environment=environment)


def _forget(installed: Path, work: Path) -> None:
    """What sysconfig remembers of the folder that it was built in is nobody's business."""
    for path in installed.rglob("_sysconfigdata_*.py"):
        path.write_text(path.read_text(encoding="utf-8").replace(str(work), "/build"), encoding="utf-8")


def _facts(fetched: Iterable[Source]) -> dict[str, Any]:
    described = [{name: value for name, value in asdict(source).items() if name != "tree"} for source in fetched]
    return {"compiler": f"zig {zig_version()}", "glibc": ".".join(map(str, GLIBC_FLOOR)), "sources": described}
