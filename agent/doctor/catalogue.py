"""All checks by name, in the order in which their findings are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from heliotrope.foundation.errors import InvalidInput

from . import certificates, clock, disk, driver, kernel, permissions, ports, reach, sensors, software, systemd
from .finding import Finding, Status
from .subject import Subject


@dataclass(frozen=True)
class Family:
    """One module's ``findings``, with its name and time limit."""

    name: str
    limit_s: float
    look: Callable[[Subject], Iterable[Finding]]

    def findings(self, subject: Subject) -> Iterable[Finding]:
        return self.look(subject)


FAMILIES = (
    Family("software", 30.0, software.findings),
    Family("kernel", 10.0, kernel.findings),
    Family("systemd", 10.0, systemd.findings),
    Family("driver", 30.0, driver.findings),
    Family("sensors", 60.0, sensors.findings),
    Family("clock", 20.0, clock.findings),
    Family("certificates", 10.0, certificates.findings),
    Family("permissions", 10.0, permissions.findings),
    Family("disk", 30.0, disk.findings),
    Family("ports", 20.0, ports.findings),
    Family("reach", 30.0, reach.findings),
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
