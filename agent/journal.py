"""Results of commands, durable before they are sent: a repeated command is answered, not done again.

A result is forgotten once the coordinator has acknowledged it; until then it is sent anew on every session.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from heliotrope.foundation import records
from heliotrope.foundation.errors import InvalidInput
from heliotrope.foundation.model import CommandResult

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Journal:
    """One small file per unacknowledged result."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def record(self, result: CommandResult) -> None:
        """Durable on return."""
        records.save(self._path(result.command_id), result)

    def find(self, command_id: str) -> CommandResult | None:
        with contextlib.suppress(FileNotFoundError):
            return records.load(self._path(command_id), CommandResult)
        return None

    def unacknowledged(self) -> list[CommandResult]:
        return [records.load(path, CommandResult) for path in sorted(self._folder.glob("*.json"))]

    def forget(self, command_id: str) -> None:
        self._path(command_id).unlink(missing_ok=True)

    def _path(self, command_id: str) -> Path:
        if not _ID.fullmatch(command_id):
            raise InvalidInput(f"field command_id: {command_id!r} is not an id of this protocol")
        return self._folder / f"{command_id}.json"
