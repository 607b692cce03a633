"""The machines that a relocatable bundle can be made for."""

from __future__ import annotations

import platform
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of machine, by the names that each tool has for it."""

    arch: str  # as `uname -m` says it
    elf_machine: int  # e_machine of its ELF files
    openssl: str

    @property
    def triple(self) -> str:
        """The GNU triple, as CPython names its extension modules."""
        return f"{self.arch}-linux-gnu"

    @property
    def native(self) -> bool:
        """Whether this machine runs what is built for it."""
        return self.arch == platform.machine()

    def platform_tags(self) -> tuple[str, ...]:
        """Tags of wheels that run on every glibc from 2.17 on."""
        return (f"manylinux2014_{self.arch}", f"manylinux_2_17_{self.arch}")


TARGETS = {
    target.arch: target for target in (Target("x86_64", 62, "linux-x86_64"), Target("aarch64", 183, "linux-aarch64"))
}
# What manylinux2014 wheels ask for at most, so our own parts ask for no more: RHEL 7 and later, JetPack 4 and later.
GLIBC_FLOOR = (2, 17)
