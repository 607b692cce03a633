"""How many leases ever passed to a new holder, as the coordinator last said: a coordinator that says less was restored
from an old backup, and is told so in the hello."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from heliotrope.foundation import records
from heliotrope.foundation.errors import HeliotropeError
from heliotrope.foundation.model import Record

log = logging.getLogger("heliotrope.agent.handovers")


class _Known(Record):
    count: int = 0


class Handovers:
    """The highest count, kept on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _Known()
        try:
            with contextlib.suppress(FileNotFoundError):
                self._known = records.load(path, _Known)
        except HeliotropeError as error:  # no reason to leave the node's jobs alone
            log.warning("%s", error)

    @property
    def count(self) -> int:
        return self._known.count

    def learn(self, count: int) -> None:
        """Kept if it is higher; on a full disk it is known until the next restart at least."""
        if count <= self._known.count:
            return
        self._known = _Known(count=count)
        try:
            records.save(self._path, self._known)
        except (OSError, HeliotropeError) as error:
            log.warning("cannot keep the number of hand-overs: %s", error)
