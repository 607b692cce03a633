"""``--kill``: one process dies by SIGKILL in the middle of a move, and comes back as a service manager would see to."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import msgspec

from .fleet import COORDINATOR, LocalFleet
from .recording import FleetSeen, JobSeen, MigrationSeen, StrikeSeen

Who: TypeAlias = Literal["coordinator", "source", "destination"]

RESTART_AFTER_S = 2.0
# The step at which each is hit: the source while the job still runs there, the destination while it receives the rest,
# the coordinator on either side of the point of no return. A picture may come too late for a step that took
# milliseconds: any later one will do, as long as the move is not over.
AIM: dict[str, tuple[str, ...]] = {
    "coordinator": ("QUIESCING", "SENDING", "VERIFIED", "STARTING"),
    "source": ("STAGING", "QUIESCING", "SENDING", "VERIFIED"),
    "destination": ("SENDING", "VERIFIED", "STARTING"),
}


class Striker:
    """Strikes once, from the watcher's thread; the restart has a thread of its own."""

    def __init__(self, fleet: LocalFleet, who: Who) -> None:
        self._fleet = fleet
        self._who = who
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self.seen: StrikeSeen | None = None
        self.error: Exception | None = None

    def look(self, picture: FleetSeen, _job: JobSeen) -> None:
        """Strike if a move is at the right step in this picture."""
        if self.seen is not None:
            return
        for migration in picture.migrations:
            if migration.is_move and migration.step in AIM[self._who]:
                self._strike(migration)
                return

    def close(self) -> None:
        """Wait for the restart; the fleet must not be stopped in the middle of it."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _strike(self, migration: MigrationSeen) -> None:
        member = self._member(migration)
        self._fleet.kill(member)
        self.seen = StrikeSeen(
            who=self._who,
            member=member,
            killed_utc=datetime.now(UTC),
            migration_id=migration.migration_id,
            step=migration.step,
        )
        self._thread = threading.Thread(target=self._restart, args=(member,), name="demo-restart", daemon=True)
        self._thread.start()

    def _member(self, migration: MigrationSeen) -> str:
        if self._who == "coordinator":
            return COORDINATOR
        return migration.source_node if self._who == "source" else migration.destination_node

    def _restart(self, member: str) -> None:
        if self._over.wait(RESTART_AFTER_S):
            return
        try:
            self._fleet.start(member)
        except Exception as error:  # noqa: BLE001 - the main thread raises it
            self.error = error
            return
        assert self.seen is not None
        self.seen = msgspec.structs.replace(self.seen, restarted_utc=datetime.now(UTC))
