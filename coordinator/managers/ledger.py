"""Energy batches into the sums of open intervals: each record once, each microjoule in one interval."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from datetime import timedelta

from ..forecasts.series import unix_s
from ..state.database import Transaction
from ..state.ledger_model import OpenLine, SpoolMark
from .ledger_chain import append_gap
from .telemetry import DeviceEnergy, EnergyBatch, EnergyShare
from .world import World

log = logging.getLogger("heliotrope.coordinator.ledger")

IDLE, UNATTRIBUTED = "", "?"
SKEW_LIMIT_MS = 60_000  # what a node's clock may be off before its boot's own time line is believed instead
FLOOR_MS = 1_735_689_600_000  # 2025-01-01: there was no agent before; a clock that says so was never set
SPAN_LIMIT_MS = 86_400_000  # a batch is seconds long; one of more than a day is not spread over its span


class LedgerManager:
    """Books each batch once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._length_ms = round(world.config.ledger.interval_s * 1000)

    def on_batch(self, tx: Transaction, node_id: str, batch: EnergyBatch) -> int:
        """Book it unless its key was booked before; the spool's position afterwards, to be acknowledged."""
        mark = tx.open_energy.mark(node_id, batch.spool_id)
        is_new = batch.sequence > mark.sequence
        if not is_new and not tx.open_energy.fill(node_id, batch.spool_id, batch.sequence):
            return mark.sequence
        if batch.sequence > mark.sequence + 1:
            tx.open_energy.skip(node_id, batch.spool_id, mark.sequence + 1, batch.sequence - 1)
        start_ms, end_ms = self._dated(node_id, batch, mark if is_new else SpoolMark())
        fault = _fault(batch)
        lost = batch.gap_count + (1 if fault else 0)
        if fault:
            log.error("node %s: record %d of its spool is not booked: %s", node_id, batch.sequence, fault)
        else:
            tx.open_energy.add(list(self._lines(tx, node_id, batch, start_ms, end_ms)))
        if lost:
            append_gap(tx, node_id, tx.open_energy.site(node_id), start_ms, end_ms, lost, fault or batch.gap_reason)
        mark = SpoolMark(
            sequence=max(batch.sequence, mark.sequence),
            lost_count=mark.lost_count + lost,
            end_ms=max(end_ms, mark.end_ms),
        )
        tx.open_energy.set_mark(node_id, batch.spool_id, mark)
        return mark.sequence

    def _lines(
        self, tx: Transaction, node_id: str, batch: EnergyBatch, start_ms: int, end_ms: int
    ) -> Iterator[OpenLine]:
        site = tx.open_energy.site(node_id)
        now_ms = _ms(unix_s(self._world.utc()))
        span_us = (end_ms - start_ms) * 1000
        for device in batch.devices:
            energy_uj = _energies(device, batch.shares)
            reserved_us = reservations(list(energy_uj), span_us)
            covered_us = min(span_us, round(span_us * device.coverage_ratio))
            for job_id, used_uj in energy_uj.items():
                amounts = (used_uj, covered_us, span_us, reserved_us[job_id])
                for interval_ms, parts in spread(amounts, start_ms, end_ms, self._length_ms):
                    yield OpenLine(
                        start_ms=interval_ms,
                        node_id=node_id,
                        device=device.device,
                        job_id=job_id,
                        source=device.source,
                        scope=device.scope,
                        site=site,
                        length_ms=self._length_ms,
                        estimated=device.estimated,
                        energy_uj=parts[0],
                        covered_us=parts[1],
                        span_us=parts[2],
                        reserved_us=parts[3],
                        opened_ms=now_ms,
                        touched_ms=now_ms,
                    )

    def _dated(self, node_id: str, batch: EnergyBatch, mark: SpoolMark) -> tuple[int, int]:
        """(start, end) on the coordinator's time line.

        A node's word is taken unless it is off by more than a minute from what its boot's time line says. Of an earlier
        boot only this is known: records of a spool follow one another, and none is of the future.
        """
        start_ms, end_ms = _ms(unix_s(batch.start_utc)), _ms(unix_s(batch.end_utc))
        length_ms = max(end_ms - start_ms, 0)
        now_ms = _ms(unix_s(self._world.utc()))
        latest_ms = now_ms - length_ms
        boot = self._world.boots.get(node_id)
        true_ms = start_ms
        if boot is not None and boot.boot_id == batch.boot_id and batch.start_boottime_s > 0:
            true_ms = _ms(unix_s(boot.booted_utc + timedelta(seconds=batch.start_boottime_s)))
        elif start_ms + SKEW_LIMIT_MS < mark.end_ms:
            true_ms = mark.end_ms
        if not FLOOR_MS <= true_ms <= latest_ms + SKEW_LIMIT_MS:
            true_ms = latest_ms
        if abs(true_ms - start_ms) > SKEW_LIMIT_MS:
            start_ms = true_ms
        return start_ms, start_ms + length_ms


def spread(
    amounts: tuple[int, ...], start_ms: int, end_ms: int, length_ms: int
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(interval's start, its part of each amount), evenly over the span; the parts add up exactly."""
    first = start_ms // length_ms
    last = max(first, (end_ms - 1) // length_ms)
    if first == last or end_ms - start_ms > SPAN_LIMIT_MS:
        yield first * length_ms, amounts
        return
    done = tuple(0 for _ in amounts)
    for index in range(first, last + 1):
        passed_ms = min((index + 1) * length_ms, end_ms) - start_ms
        until = tuple(amount * passed_ms // (end_ms - start_ms) for amount in amounts)
        yield index * length_ms, tuple(new - old for new, old in zip(until, done, strict=True))
        done = until


def reservations(owners: list[str], span_us: int) -> dict[str, int]:
    """Whose the device's time was: evenly its jobs', else nobody's, else of those that nobody knows."""
    held = sorted(owner for owner in owners if owner not in (IDLE, UNATTRIBUTED))
    holders = held or [IDLE if IDLE in owners else UNATTRIBUTED]
    each, rest = divmod(span_us, len(holders))
    parts = {owner: each + (1 if index < rest else 0) for index, owner in enumerate(holders)}
    return {owner: parts.get(owner, 0) for owner in owners}


def _energies(device: DeviceEnergy, shares: tuple[EnergyShare, ...]) -> dict[str, int]:
    """Owner -> microjoules. A device without a share was not measured: its time is nobody's known."""
    found: dict[str, int] = {}
    for share in shares:
        if share.device == device.device:
            found[share.job_id] = found.get(share.job_id, 0) + round(share.energy_j * 1e6)
    return found or {(IDLE if device.coverage_ratio > 0 else UNATTRIBUTED): 0}


def _fault(batch: EnergyBatch) -> str:
    """Why a batch cannot be booked: sums must never fall, whatever an agent sends. Empty: it can."""
    limit_j = 1e9  # 3 GW over 300 ms: no device, and far from where 64 bits of microjoules end
    for share in batch.shares:
        if not 0 <= share.energy_j < limit_j:
            return f"field shares: {share.energy_j} J of device {share.device} is negative or absurd"
    for device in batch.devices:
        if not 0 <= device.coverage_ratio <= 1:
            return f"field devices: coverage {device.coverage_ratio} of device {device.device} is not within 0 and 1"
    return ""


def _ms(seconds: float) -> int:
    return math.floor(seconds * 1000 + 0.5)
