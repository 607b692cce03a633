"""The one interface of everything that measures; a new source (IPMI, say) implements it and is named in detect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from .reading import Channel, ProcessUse, Reading


class Source(Protocol):
    """Meters behind one driver, already probed: only channels that answered are listed."""

    @property
    def name(self) -> str: ...

    @property
    def channels(self) -> Sequence[Channel]: ...

    def keep(self, devices: frozenset[str]) -> None:
        """Read only these from now on; the others overlap with something better."""

    def read(self, *, counters: bool = True) -> list[Reading]:
        """One reading per kept channel, failed ones included. Raises SensorError of kind FATAL when all are lost.

        Without ``counters`` the power is enough where there is one: a counter misses nothing until it is read next.
        """

    def close(self) -> None:
        """Release the driver. May be called twice."""


@runtime_checkable
class ProcessSource(Protocol):
    """A source that also knows who uses its devices."""

    def uses(self) -> dict[str, list[ProcessUse] | None]:
        """Device -> processes on it since the last call; ``None`` where the driver does not tell."""
