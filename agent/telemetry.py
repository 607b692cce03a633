"""Energy on its way to the coordinator: measured, spooled, sent, acknowledged."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from heliotrope.foundation import wire
from heliotrope.foundation.errors import Corrupt
from heliotrope.foundation.model import Record
from heliotrope.v1 import fleet_pb2 as pb

from .power.batch import CurrentPower, EnergyBatch
from .power.monitor import PowerMonitor
from .spool import Gap, Spool, decode

log = logging.getLogger("heliotrope.agent.telemetry")

# Batches on the way at once: after a week without coordinator the backlog flows, but does not flood the session.
IN_FLIGHT = 32


class Telemetry:
    """The spool as the session sees it."""

    def __init__(self, monitor: PowerMonitor, spool: Spool) -> None:
        self._monitor = monitor
        self._spool = spool
        self._sent = spool.acknowledged

    @property
    def spool_id(self) -> str:
        return self._spool.spool_id

    @property
    def acknowledged(self) -> int:
        return self._spool.acknowledged

    def current(self) -> CurrentPower:
        return self._monitor.current()

    def restart(self, known_sequence: int) -> None:
        """A new session: go on after what the coordinator has committed; its view wins."""
        self._spool.acknowledge(known_sequence)
        self._sent = self._spool.acknowledged

    def acknowledge(self, sequence: int) -> None:
        self._spool.acknowledge(sequence)

    def pieces(self) -> Iterator[pb.EnergyBatch]:
        """What can be sent now, oldest first."""
        room = IN_FLIGHT - (self._sent - self._spool.acknowledged)
        if room <= 0:
            return
        for sequence, data in self._spool.pending(room, after=self._sent):
            self._sent = sequence
            yield self._message(sequence, data)

    def _message(self, sequence: int, data: bytes) -> pb.EnergyBatch:
        try:
            record = decode(data)
        except Corrupt as error:
            log.error("spool record %d: %s", sequence, error)
            record = Gap(count=1, reason="record unreadable")
        if isinstance(record, EnergyBatch):
            message: pb.EnergyBatch = wire.to_message(record, pb.EnergyBatch)
        else:
            message = wire.to_message(_LostBatches(gap_reason=record.reason, gap_count=record.count), pb.EnergyBatch)
            _mark_span(message, record)
        message.spool_id, message.sequence = self.spool_id, sequence
        return message


class _LostBatches(Record):
    gap_reason: str
    gap_count: int


def _mark_span(message: pb.EnergyBatch, gap: Gap) -> None:
    """The span that the lost batches covered; where it is unknown the moment of the loss stands for it."""
    if gap.start_utc is not None:
        message.start.FromDatetime(gap.start_utc)
        message.end.FromDatetime(gap.end_utc or gap.start_utc)
    else:
        message.start.GetCurrentTime()
        message.end.CopyFrom(message.start)
