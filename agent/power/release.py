"""Drivers given back for a while, for a driver upgrade: a note in the state folder, and the agent's answer beside it.

The note is a file, because it has to hold over the agent's restart in the middle of the upgrade, and needs neither a
coordinator nor a certificate. It ends by itself: time is counted on the clock that goes on in suspend, and a boot ends
it, as the boot id tells.
"""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from typing import TypeVar

import msgspec

from heliotrope.foundation import records
from heliotrope.foundation.clock import Clock, boot_id
from heliotrope.foundation.errors import Corrupt

T = TypeVar("T")

LONGEST_S = 86_400.0
_NOTE, _ANSWER = "driver-release.json", "driver-released.json"


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Who reads it closes the drivers until ``until_boottime_s`` of that boot."""

    release_id: str
    boot_id: str
    until_boottime_s: float


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The agent has closed them."""

    release_id: str


class DriverRelease:
    """The note as both sides see it. Raises OSError where the folder cannot be written."""

    def __init__(self, state_dir: Path, clock: Clock) -> None:
        self._note = state_dir / _NOTE
        self._answer = state_dir / _ANSWER
        self._clock = clock

    def begin(self, for_s: float) -> Note:
        """Ask for the drivers; a second call moves the end."""
        note = Note(
            release_id=secrets.token_hex(8),
            boot_id=boot_id(),
            until_boottime_s=self._clock.boottime_s() + for_s,
        )
        # Readable for the agent, which may run under another account than the person who upgrades the driver.
        records.write_durably(self._note, msgspec.json.encode(note), mode=0o644)
        return note

    def end(self) -> bool:
        """Take the note away; whether there was one in force."""
        was = self.left_s() > 0
        self._note.unlink(missing_ok=True)
        return was

    def is_answered(self, note: Note) -> bool:
        """Whether the agent has closed its drivers for this note."""
        found = _load(self._answer, Answer)
        return found is not None and found.release_id == note.release_id

    def left_s(self) -> float:
        """Seconds until the agent takes the drivers again; 0.0 when it may have them."""
        note = _load(self._note, Note)
        if note is None or note.boot_id != boot_id():
            return 0.0
        return min(LONGEST_S, max(0.0, note.until_boottime_s - self._clock.boottime_s()))

    def answer(self) -> None:
        """Say that the drivers are closed. A disk that refuses only keeps the asker waiting."""
        note = _load(self._note, Note)
        if note is not None and not self.is_answered(note):
            with contextlib.suppress(OSError):
                records.save(self._answer, Answer(release_id=note.release_id))


def _load(path: Path, kind: type[T]) -> T | None:
    try:
        return records.load(path, kind)
    except (FileNotFoundError, Corrupt):
        return None  # a note that nobody can read does not keep the drivers closed
