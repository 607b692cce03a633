"""All checks by name. A check's module is imported in the check's own process: a broken installation is a finding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module

from heliotrope.foundation.errors import InvalidInput

from .finding import Finding, Status
from .subject import Subject


@dataclass(frozen=True)
class Family:
    """A check whose module of the same name has a function ``findings(subject)``."""

    name: str
    limit_s: float
    about: str

    def findings(self, subject: Subject) -> Iterable[Finding]:
        found: Iterable[Finding] = import_module(f"{__package__}.{self.name}").findings(subject)
        return found


FAMILIES = (
    Family("software", 30.0, "Python, packages, generated code, native kernels"),
    Family("kernel", 10.0, "what the Linux kernel offers, and limits"),
    Family("systemd", 10.0, "the service manager"),
    Family("driver", 30.0, "the GPU driver and its library"),
    Family("sensors", 60.0, "what measures power, and what may not be read"),
    Family("clock", 20.0, "the time, its synchronisation, the coordinator's bounds on it"),
    Family("certificates", 10.0, "identities: chain, role, expiry, key"),
    Family("permissions", 10.0, "who runs it, private files, job users"),
    Family("disk", 30.0, "room, inodes, what the file system can do"),
    Family("ports", 20.0, "the listening ports and the advertised addresses"),
    Family("reach", 30.0, "the coordinator and peers: TCP, TLS, name, role"),
)


def choose(only: Sequence[str]) -> list[Family]:
    """The families that ``only`` names, by FAMILY or FAMILY.THING; all of them if it names none.

    Raises InvalidInput for a name that is no family's.
    """
    wanted = {name.partition(".")[0] for name in only}
    unknown = wanted - {family.name for family in FAMILIES}
    if unknown:
        known = ", ".join(family.name for family in FAMILIES)
        raise InvalidInput(f"field only: {sorted(unknown)[0]!r} is no check; use one of {known}")
    return [family for family in FAMILIES if not wanted or family.name in wanted]


def selected(finding: Finding, only: Sequence[str]) -> bool:
    """Whether it was asked for. A check's own failure is shown whatever part of it was asked for."""
    thing = finding.check.partition(".")[2]
    if not only or (thing in ("hang", "crash", "failure") and finding.status is Status.ERROR):
        return True
    return any(finding.check == name or finding.check.startswith(f"{name}.") for name in only)
