"""The scrub: reads every checkpoint back now and then, slowly, so that damage is found before the copy is needed.

One thread at the lowest priority. It also looks, each tick, whether anybody (a peer's read, ``heliotrope store
verify``) noted damage or its end, so that the coordinator learns it whoever found it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from heliotrope.foundation import records
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Corrupt, HeliotropeError

from ..checkpoints.damage import reference_name
from ..checkpoints.registry import CheckpointRecord
from ..transfer.budget import Limiter
from ..vault import Vault
from .inspection import inspect

log = logging.getLogger("heliotrope.agent.scrub")

TICK_S = 1.0
_LOWEST_PRIORITY = 19


class _Stopped(Exception):
    """The agent stops in the middle of a checkpoint; it is read anew next time."""


class _Seen(msgspec.Struct, forbid_unknown_fields=True):
    """When each checkpoint was last read back."""

    version: int = 1
    read_utc: dict[str, datetime] = {}


class Scrub:
    """``on_change`` is told, from the scrub's thread, the jobs whose damage changed."""

    def __init__(
        self,
        vault: Vault,
        folder: Path,
        *,
        rate_bytes_per_s: float,
        period_s: float,
        clock: Clock,
        on_change: Callable[[str], None],
    ) -> None:
        """``folder`` keeps what was read when; ``period_s`` 0: nothing is read, others' notes are looked for."""
        self._vault = vault
        self._record = folder / "scrub.json"
        self._limiter = Limiter(rate_bytes_per_s or None, clock)
        self._period = timedelta(seconds=period_s)
        self._clock = clock
        self._on_change = on_change
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scrub", daemon=True)
        self._known = frozenset[str]()
        self._seen = _load(self._record)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the chunk that is being read is read."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
        while not self._stopping.wait(TICK_S):
            try:
                self._look()
                self._read_next()
            except _Stopped:
                return
            except (HeliotropeError, OSError) as error:
                log.error("the scrub goes on with the next checkpoint: %s", error)

    def _look(self) -> None:
        """Whoever noted something: the job's holder is told once."""
        now = self._vault.damage.names()
        changed, self._known = now ^ self._known, now
        for name in changed:
            self._vault.refresh(name)
            self._on_change(name.rsplit(".", 2)[0])

    def _read_next(self) -> None:
        """One checkpoint whose turn it is; none most of the time."""
        if not self._period:
            return
        now_utc = self._clock.utc()
        for checkpoint, reader in self._vault.held():
            if self._due(checkpoint, now_utc):
                finding = inspect(checkpoint, reader, self._pace, now_utc)
                if finding.damage is None:
                    self._vault.note_whole(checkpoint)
                elif any(checkpoint == one for one, _ in self._vault.held()):  # else it was let go while we read
                    log.error("%s is damaged: %s", _name(checkpoint), finding.damage.chunks[0].cause)
                    self._vault.note_damage(finding.damage)
                self._note_read(checkpoint, now_utc)
                return

    def _due(self, checkpoint: CheckpointRecord, now_utc: datetime) -> bool:
        """A period after it was last read, or made. A clock that went back makes nothing wait longer than a period."""
        last = self._seen.read_utc.get(_name(checkpoint)) or checkpoint.created_utc
        return last is None or not timedelta(0) <= now_utc - last < self._period

    def _note_read(self, checkpoint: CheckpointRecord, now_utc: datetime) -> None:
        held = {_name(one) for one, _ in self._vault.held()}
        kept = {name: utc for name, utc in self._seen.read_utc.items() if name in held}
        self._seen = _Seen(read_utc={**kept, _name(checkpoint): now_utc})
        records.save(self._record, self._seen)

    def _pace(self, size_bytes: int) -> None:
        self._limiter.spend(size_bytes, self._stopping.wait)
        if self._stopping.is_set():
            raise _Stopped


def _name(checkpoint: CheckpointRecord) -> str:
    return reference_name(checkpoint.job_id, checkpoint.epoch, checkpoint.sequence)


def _load(path: Path) -> _Seen:
    try:
        return records.load(path, _Seen)
    except FileNotFoundError:
        return _Seen()
    except Corrupt as error:
        log.warning("%s; every checkpoint is read anew", error)
        return _Seen()
