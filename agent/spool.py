"""Energy batches on disk until the coordinator has committed them: nothing is lost to a kill, a crash or a long
outage.

Append-only segments, each named by the first sequence number in it. A record is a header (magic, kind, length,
sequence, CRC-32 over all of it) and a payload. Written bytes survive a kill of the process at once, a power cut from
the next fsync on. There is always one segment, so that its name tells the next sequence number even after everything
was acknowledged: a number is never given twice, as the coordinator would take the second for a repetition.

What cannot be kept (quota, full disk, damage) becomes a gap record in the same sequence: a loss is known, and counted.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import zlib
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from heliotrope.foundation import failpoints, records
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Corrupt

from .power.batch import EnergyBatch
from .spool_segment import Record, Segment, create, open_segments

log = logging.getLogger(__name__)

failpoints.register("spool.appended", "spool.rolled", "spool.dropped")

_BATCH, _GAP = 1, 2  # record kinds; a later layout of either gets a new number


class Gap(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Batches that are gone: how many, why, and the span they covered where that is known."""

    count: int
    reason: str
    start_utc: datetime | None = None
    end_utc: datetime | None = None


class SpoolConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``quota_bytes`` bounds the folder (256 MiB hold about a month at defaults); ``fsync_s`` what a power cut may
    cost.
    """

    quota_bytes: int = 256 << 20
    segment_bytes: int = 1 << 20
    fsync_s: float = 30.0

    def __post_init__(self) -> None:
        if not 4096 <= self.segment_bytes <= self.quota_bytes // 2:
            raise ValueError("segment_bytes must be at least 4096 and at most half of quota_bytes; correct one of them")


def decode(data: bytes) -> EnergyBatch | Gap:
    """What :meth:`Spool.pending` returned. Raises Corrupt for bytes of no known layout."""
    try:
        if data[:1] == bytes([_BATCH]):
            return msgspec.msgpack.decode(zlib.decompress(data[1:]), type=EnergyBatch)
        if data[:1] == bytes([_GAP]):
            return msgspec.msgpack.decode(data[1:], type=Gap)
    except (msgspec.DecodeError, zlib.error) as error:
        raise Corrupt(f"cannot decode a spooled record: {error}; report this") from error
    raise Corrupt(f"cannot decode a spooled record of kind {data[:1]!r}; a newer agent wrote it, upgrade this one")


class Spool:
    """Thread-safe. ``append`` comes from the power monitor, the rest from the session.

    Raises OSError from the constructor when the folder cannot be used at all; later, disk errors only cost records.
    """

    def __init__(self, folder: Path, clock: Clock, config: SpoolConfig | None = None) -> None:
        self._folder = folder
        self._clock = clock
        self._config = config or SpoolConfig()
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.spool_id = self._read_id()
        self._segments: deque[Segment] = deque(open_segments(folder))
        if not self._segments:
            self._segments.append(create(folder, 1))
            self._write_acknowledged(0)  # its absence would hide what is dropped before the first acknowledgement
        self._acknowledged = min(self._read_acknowledged(), self.last_sequence)
        self._synced_s = clock.monotonic_s()
        self._lost: list[Gap] = []
        self.lost_counts: dict[str, int] = {}  # reason -> batches, since the start; keys are the few reasons below
        for damage in self._check_continuity():
            self._lose(damage)

    @property
    def last_sequence(self) -> int:
        """The newest sequence number given out; 0 before the first."""
        return self._segments[-1].next_sequence - 1

    @property
    def acknowledged(self) -> int:
        """The newest acknowledged sequence number."""
        return self._acknowledged

    @property
    def quota_bytes(self) -> int:
        """What the segments may take."""
        return self._config.quota_bytes

    @property
    def size_bytes(self) -> int:
        """Bytes on disk in segments."""
        return sum(segment.size_bytes for segment in self._segments)

    def append(self, batch: EnergyBatch) -> int:
        """Keep a batch; its sequence number, or 0 when the disk refused it: that loss is recorded as soon as there is
        room.
        """
        payload = bytes([_BATCH]) + zlib.compress(msgspec.msgpack.encode(batch), 1)
        with self._lock:
            self._make_room(len(payload))
            sequence = self._write(payload) if self._record_losses() else 0
            if not sequence:
                self._lose(Gap(count=1, reason="disk full", start_utc=batch.start_utc, end_utc=batch.end_utc))
                return 0
            self._sync_if_due()
        failpoints.hit("spool.appended")
        return sequence

    def pending(self, limit: int, after: int | None = None) -> list[tuple[int, bytes]]:
        """Up to ``limit`` records (sequence, data for :func:`decode`), oldest first, newer than ``after``.

        ``after`` defaults to what is acknowledged; the sender passes the last it has sent, to keep several on the way.
        """
        with self._lock:
            after = self._acknowledged if after is None else max(after, self._acknowledged)
            found: list[tuple[int, bytes]] = []
            for record in self._records(after):
                found.append((record.sequence, record.payload))
                if len(found) >= limit:
                    break
            self._record_losses()
            return found

    def acknowledge(self, sequence: int) -> None:
        """The coordinator has committed everything up to ``sequence``; whole segments below it are deleted.

        A number above our last one means that this disk was set back to an older state: numbering goes on above it.
        """
        with self._lock:
            if sequence > self.last_sequence:
                log.warning("the coordinator knows spool record %d, this disk only %d", sequence, self.last_sequence)
                with contextlib.suppress(OSError):
                    self._segments.append(create(self._folder, sequence + 1))
            self._acknowledged = max(self._acknowledged, min(sequence, self.last_sequence))
            self._write_acknowledged(self._acknowledged)
            while len(self._segments) > 1 and self._segments[1].first_sequence <= self._acknowledged + 1:
                self._segments.popleft().remove()

    def close(self) -> None:
        """Write everything through to the disk and release the files."""
        with self._lock, contextlib.suppress(OSError):
            self._record_losses()
            self._segments[-1].sync()
            for segment in self._segments:
                segment.close()

    def _records(self, after: int) -> Iterator[Record]:
        """Records above ``after``; a damaged one ends its segment, and what is missing of it becomes a gap."""
        segments = list(self._segments)
        for index, segment in enumerate(segments):
            following = segments[index + 1].first_sequence if index + 1 < len(segments) else segment.next_sequence
            if following <= after + 1:
                continue
            for record in segment.read():
                if record.sequence > after:
                    yield record
            missing = following - segment.next_sequence
            if missing > 0 and not segment.is_reported:
                segment.is_reported = True
                self._lose(Gap(count=missing, reason="damaged on disk"))

    def _write(self, payload: bytes) -> int:
        """Append to the newest segment; the sequence number, or 0 where the disk refused."""
        try:
            if self._segments[-1].size_bytes + len(payload) > self._config.segment_bytes and len(self._segments[-1]):
                self._segments[-1].sync()
                self._segments.append(create(self._folder, self._segments[-1].next_sequence))
                failpoints.hit("spool.rolled")
            return self._segments[-1].append(payload)
        except OSError as error:
            if not self._lost:
                log.error("cannot spool energy: %s; make room in %s", error.strerror, self._folder)
            return 0

    def _make_room(self, needed_bytes: int) -> None:
        """Drop the oldest segments while the quota is exceeded; unacknowledged records in them are a loss."""
        while self.size_bytes + needed_bytes > self._config.quota_bytes and len(self._segments) > 1:
            oldest = self._segments.popleft()
            lost = [record for record in oldest.read() if record.sequence > self._acknowledged]
            oldest.remove()
            failpoints.hit("spool.dropped")
            if lost:
                self._lose(_gap_of(lost, "quota"))

    def _lose(self, gap: Gap) -> None:
        """Remember a loss until it can be written; losses of one reason in a row become one."""
        self.lost_counts = {**self.lost_counts, gap.reason: self.lost_counts.get(gap.reason, 0) + gap.count}
        if self._lost and self._lost[-1].reason == gap.reason:
            last = self._lost.pop()
            gap = Gap(
                count=last.count + gap.count,
                reason=gap.reason,
                start_utc=last.start_utc or gap.start_utc,
                end_utc=gap.end_utc or last.end_utc,
            )
        self._lost.append(gap)

    def _record_losses(self) -> bool:
        """Write the gaps that wait; False while the disk does not take them."""
        while self._lost:
            if not self._write(bytes([_GAP]) + msgspec.msgpack.encode(self._lost[0])):
                return False
            self._lost.pop(0)
        return True

    def _check_continuity(self) -> list[Gap]:
        """Records that were on this disk and are not, less those for which a gap was written already."""
        missing = {"quota": self._segments[0].first_sequence - 1 - self._acknowledged, "damaged on disk": 0}
        for index, segment in enumerate(self._segments):
            segment.is_reported = True
            if index + 1 < len(self._segments):
                missing["damaged on disk"] += self._segments[index + 1].first_sequence - segment.next_sequence
        for record in self._records(0):
            if record.payload[:1] == bytes([_GAP]) and isinstance(gap := decode(record.payload), Gap):
                missing[gap.reason] = missing.get(gap.reason, 0) - gap.count
        return [Gap(count=count, reason=reason) for reason, count in missing.items() if count > 0]

    def _sync_if_due(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._synced_s >= self._config.fsync_s:
            self._synced_s = now_s
            with contextlib.suppress(OSError):
                self._segments[-1].sync()

    def _read_id(self) -> str:
        path = self._folder / "spool_id"
        with contextlib.suppress(OSError):
            if found := path.read_text(encoding="ascii", errors="replace").strip():
                return found
        fresh = secrets.token_hex(16)
        records.write_durably(path, fresh.encode() + b"\n")
        return fresh

    def _write_acknowledged(self, sequence: int) -> None:
        """Without fsync: losing it only costs a repetition, which the coordinator recognises."""
        with contextlib.suppress(OSError):
            temporary = self._folder / ".acknowledged.tmp"
            temporary.write_text(f"{sequence}\n")
            temporary.replace(self._folder / "acknowledged")

    def _read_acknowledged(self) -> int:
        try:
            return int((self._folder / "acknowledged").read_text())
        except (OSError, ValueError):
            return self._segments[0].first_sequence - 1


def _gap_of(lost: list[Record], reason: str) -> Gap:
    """The gap that stands for records which are dropped; a dropped gap counts what it stood for."""
    count = 0
    times: list[datetime] = []
    for record in lost:
        entry = decode(record.payload)
        count += entry.count if isinstance(entry, Gap) else 1
        times += [time for time in (entry.start_utc, entry.end_utc) if time is not None]
    return Gap(count=count, reason=reason, start_utc=min(times, default=None), end_utc=max(times, default=None))
