"""Ships what happened to power caps to the coordinator; the audit keeps each event until it is acknowledged."""

from __future__ import annotations

from collections.abc import Iterator

from heliotrope.foundation.model import PowerCap, PowerCapEvent

from .power.caps.keeper import Keeper


class CapShipper:
    """The keeper as the session sees it."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._sent: set[str] = set()

    def restart(self) -> None:
        """A new session: what was not acknowledged is sent anew."""
        self._sent.clear()

    def active(self) -> tuple[PowerCap, ...]:
        return self._keeper.active()

    def pieces(self) -> Iterator[PowerCapEvent]:
        """What was not sent in this session, oldest first."""
        for event in self._keeper.audit.waiting():
            if event.event_id not in self._sent:
                self._sent.add(event.event_id)
                yield event

    def acknowledge(self, event_id: str) -> None:
        self._keeper.audit.acknowledged(event_id)
        self._sent.discard(event_id)
