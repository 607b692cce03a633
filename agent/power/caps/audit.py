"""What happened to power caps, on disk until the coordinator has it, and in the log."""

from __future__ import annotations

import logging
from pathlib import Path

from heliotrope.foundation import records
from heliotrope.foundation.model import PowerCapEvent, PowerCapEventKind

log = logging.getLogger("heliotrope.agent.power.caps")

KEPT_COUNT = 1000  # without a coordinator for that long: the newest stay, the log has them all
_ALARMING = (PowerCapEventKind.STUCK, PowerCapEventKind.OVERTAKEN, PowerCapEventKind.SUSPENDED)


class Audit:
    """One small file per event that is not acknowledged; the same id again is the same event."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = [records.load(path, PowerCapEvent) for path in folder.glob("*.json")]
        self._waiting = {event.event_id: event for event in sorted(found, key=lambda event: event.utc)}

    def add(self, event: PowerCapEvent) -> None:
        """Durable on return."""
        level = logging.WARNING if event.kind in _ALARMING else logging.INFO
        log.log(level, "%s", _sentence(event))
        if event.event_id in self._waiting:
            return
        records.save(self._path(event.event_id), event)
        self._waiting = {**self._waiting, event.event_id: event}
        for oldest in list(self._waiting)[:-KEPT_COUNT]:
            self.acknowledged(oldest)

    def waiting(self) -> tuple[PowerCapEvent, ...]:
        """Oldest first; may be asked from any thread."""
        return tuple(self._waiting.values())

    def acknowledged(self, event_id: str) -> None:
        if event_id in self._waiting:
            self._path(event_id).unlink(missing_ok=True)
            self._waiting = {name: event for name, event in self._waiting.items() if name != event_id}

    def _path(self, event_id: str) -> Path:
        return self._folder / f"{event_id}.json"


def _sentence(event: PowerCapEvent) -> str:
    known = ((event.requested_w, "asked for"), (event.found_w, "found"), (event.limit_w, "now"))
    figures = ", ".join(f"{value:g} W {word}" for value, word in known if value is not None)
    return f"power cap {event.cap_id} of {event.device}: {event.kind}, {figures}: {event.message}"
