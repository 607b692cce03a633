"""Reads out of ELF files what the machine that runs them has to have."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from heliotrope.foundation.errors import InvalidInput

_MAGIC = b"\x7fELF\x02\x01"  # 64 bit, little end first: all that we build for
_DYNAMIC, _VERNEED = 6, 0x6FFFFFFE
_NEEDED = 1
_GLIBC = re.compile(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Demands:
    """What an ELF file asks of its machine; ``glibc`` is the newest version of a symbol, (0, 0) for none."""

    machine: int
    libraries: tuple[str, ...]
    glibc: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Section:
    kind: int
    offset: int
    size: int
    link: int  # of the section with its strings


def is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == _MAGIC[:4]


def demands(path: Path) -> Demands:
    """Raises InvalidInput for what is no whole 64-bit little-endian ELF file."""
    data = path.read_bytes()
    if not data.startswith(_MAGIC):
        raise InvalidInput(f"cannot read {path}: it is no 64-bit little-endian ELF file")
    try:
        (machine,) = struct.unpack_from("<H", data, 18)
        sections = list(_sections(data))
        libraries = tuple(name for section in sections for name in _needed(data, section, sections))
        versions = [version for section in sections for version in _glibc(data, section, sections)]
    except (struct.error, IndexError, ValueError) as error:
        raise InvalidInput(f"cannot read {path}: its ELF tables are cut short or wrong ({error})") from error
    return Demands(machine, libraries, max(versions, default=(0, 0)))


def _sections(data: bytes) -> Iterator[_Section]:
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    for index in range(count):
        _, kind, _, _, offset, length, link = struct.unpack_from("<IIQQQQI", data, table + index * size)
        yield _Section(kind, offset, length, link)


def _needed(data: bytes, section: _Section, sections: list[_Section]) -> Iterator[str]:
    if section.kind != _DYNAMIC:
        return
    for offset in range(section.offset, section.offset + section.size, 16):
        tag, value = struct.unpack_from("<qQ", data, offset)
        if tag == _NEEDED:
            yield _text(data, sections[section.link].offset + value)


def _glibc(data: bytes, section: _Section, sections: list[_Section]) -> Iterator[tuple[int, int]]:
    """Elf64_Verneed records, each with a chain of Elf64_Vernaux; offsets are relative to the record they stand in."""
    entry = section.offset
    while section.kind == _VERNEED:
        _, count, _, first, following = struct.unpack_from("<HHIII", data, entry)
        auxiliary = entry + first
        for _ in range(count):
            _, _, _, name, step = struct.unpack_from("<IHHII", data, auxiliary)
            if match := _GLIBC.fullmatch(_text(data, sections[section.link].offset + name)):
                yield int(match[1]), int(match[2])
            auxiliary += step
        if not following:
            return
        entry += following


def _text(data: bytes, offset: int) -> str:
    return data[offset : data.index(b"\0", offset)].decode()
