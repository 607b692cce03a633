"""Holds a tree of files against its promise: the right processor, the glibc floor, and no library it does not bring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from heliotrope.foundation.errors import Incompatible

from . import elf
from .target import GLIBC_FLOOR, Target

# What a manylinux2014 wheel may take from the machine (PEP 599; libz by auditwheel's policy), as far as any here does.
_SYSTEM = frozenset(
    {
        "ld-linux-x86-64.so.2",
        "ld-linux-aarch64.so.1",
        "libc.so.6",
        "libm.so.6",
        "libpthread.so.0",
        "libdl.so.2",
        "librt.so.1",
        "libutil.so.1",
        "libz.so.1",
        "libgcc_s.so.1",
        "libstdc++.so.6",
    }
)


@dataclass(frozen=True, slots=True)
class Found:
    """The newest glibc that any file asks for, one such file, what is taken from the machine, and how many files."""

    glibc: tuple[int, int]
    file: str
    libraries: tuple[str, ...]
    file_count: int


def check(tree: Path, target: Target, floor: tuple[int, int] = GLIBC_FLOOR) -> Found:
    """Raises Incompatible that names every file which breaks the promise, and how."""
    files = [(path, elf.demands(path)) for path in binaries(tree)]
    brought = {path.name for path, _ in files}
    wrong = [
        f"{path.relative_to(tree)} {fault}"
        for path, demands in files
        for fault in _faults(demands, target, floor, brought)
    ]
    if not files:
        wrong.append("no binary at all is in it")
    if wrong:
        raise Incompatible(
            f"cannot release {tree.name} for {target.arch} with glibc {_dotted(floor)}: {'; '.join(wrong)}; "
            "pin an older version of that package, or take another --python"
        )
    newest, file = max((demands.glibc, str(path.relative_to(tree))) for path, demands in files)
    taken = {name for _, demands in files for name in demands.libraries if name not in brought}
    return Found(newest, file, tuple(sorted(taken)), len(files))


def binaries(tree: Path) -> Iterator[Path]:
    """Every ELF file of the tree, in order; links are left to what they point at."""
    for path in sorted(tree.rglob("*")):
        if path.is_file() and not path.is_symlink() and elf.is_elf(path):
            yield path


def _faults(demands: elf.Demands, target: Target, floor: tuple[int, int], brought: set[str]) -> Iterator[str]:
    if demands.machine != target.elf_machine:
        yield f"is for another processor (ELF machine {demands.machine}, not {target.elf_machine})"
    if demands.glibc > floor:
        yield f"asks for glibc {_dotted(demands.glibc)}"
    for name in demands.libraries:
        if name not in brought and name not in _SYSTEM:
            yield f"asks for {name}, which neither the bundle nor every machine has"


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
