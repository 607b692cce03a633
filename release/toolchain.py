"""The cross compiler: zig's clang, which knows every glibc's symbols, so that the floor is chosen, not found."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from heliotrope.foundation.errors import HeliotropeError, Incompatible

from .target import GLIBC_FLOOR, Target

_LOG_LINES = 25  # of a failed step, in its error
# No sanitizer, which zig adds to unoptimised code. No build time, and no debug information, which zig's own start files
# bring along: the same sources give the same bytes, wherever they are compiled.
_FLAGS = "-fno-sanitize=undefined -g0 -Wno-date-time -Wl,--strip-debug -Wno-unused-command-line-argument"


class Toolchain:
    """``cc``, ``ar`` and ``ranlib`` for a target, as programs in ``folder``, which configure scripts can call."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        self.folder = folder
        zig, floor = _zig(), ".".join(map(str, GLIBC_FLOOR))
        folder.mkdir(parents=True, exist_ok=True)
        _program(folder / "zig-cc", f"'{zig}' cc -target {target.triple}.{floor} {_FLAGS}")
        for tool in ("ar", "ranlib"):
            _program(folder / f"zig-{tool}", f"'{zig}' {tool}")

    def environment(self, **more: str) -> dict[str, str]:
        """For make and configure. The tools are named without their folder: some programs remember what built them."""
        path = f"{self.folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        kept = {name: os.environ[name] for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME") if name in os.environ}
        tools = {"CC": "zig-cc", "AR": "zig-ar", "RANLIB": "zig-ranlib"}
        return {**kept, "PATH": path, "LC_ALL": "C", "SOURCE_DATE_EPOCH": "0", **tools, **more}


def zig_version() -> str:
    return metadata.version("ziglang")


def run(command: Sequence[str | Path], *, cwd: Path, log: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a build step, its output appended to ``log``. Raises HeliotropeError with the log's end."""
    with log.open("ab") as output:
        output.write(f"\n$ {' '.join(map(str, command))}\n".encode())
        output.flush()
        try:
            code = subprocess.run(
                command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
            ).returncode
        except FileNotFoundError as error:
            raise Incompatible(f"cannot run {command[0]}: it is not installed; docs/bundle.md lists it") from error
    if code:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        text = "\n".join(lines)
        raise HeliotropeError(
            f"cannot build: `{command[0]}` in {cwd.name} ended with {code}; all of {log}, its end:\n{text}"
        )


def make(*goals: str) -> tuple[str, ...]:
    """The command that makes ``goals`` on every processor."""
    return ("make", f"-j{os.cpu_count() or 1}", *goals)


def _zig() -> Path:
    spec = find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise Incompatible(
            "cannot compile for other machines: ziglang is not installed; run pip install -e '.[release]'"
        )
    return Path(spec.origin).with_name("zig")


def _program(path: Path, command: str) -> None:
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
