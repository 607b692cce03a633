"""Energy, carbon and time per job, node, site, and job at a site."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from heliotrope.foundation import wire
from heliotrope.foundation.model import MigrationKind
from heliotrope.v1 import operator_pb2 as pb

from ..managers.world import World
from ..state.database import Transaction
from ..state.model import AheadOutcome, EnergyInterval, Job, StagedAhead
from . import losses

_SUMS = ("energy_j", "carbon_g", "carbon_static_g", "renewable_energy_j", "unknown_energy_j")


def report(
    world: World, tx: Transaction, *, start: datetime | None, end: datetime | None, job: Job | None
) -> pb.Report:
    """Sums over the ledger intervals that begin in [start, end)."""
    intervals = tx.ledger.intervals(start_utc=start, end_utc=end, job_id=job.job_id if job else "")
    jobs = {one.job_id: one for one in ([job] if job else tx.jobs.all())}
    rows = [_job_row(world, tx, one, [i for i in intervals if i.job_id == one.job_id]) for one in jobs.values()]
    for row, one in zip(rows, jobs.values(), strict=True):
        _add_losses(row, _losses(world, tx, one, start, end))
        _add_ahead(row, _ahead(tx, one, start, end))
    for (job_id, site), found in _grouped(
        intervals, lambda i: (i.job_id, i.site) if i.job_id in jobs else None
    ).items():
        rows.append(_sum(world, "job_site", job_id, site, found))
    if job is None:
        for (node, site), found in _grouped(intervals, lambda i: (i.node_id, i.site)).items():
            rows.append(_sum(world, "node", node, site, found))
        for (site, _), found in _grouped(intervals, lambda i: (i.site, i.site)).items():
            rows.append(_sum(world, "site", site, site, found))
    answer = pb.Report(rows=rows)
    for one in jobs.values():
        answer.losses.extend(_losses(world, tx, one, start, end))
        answer.staged_ahead.extend(wire.to_message(item, pb.StagedAhead) for item in _ahead(tx, one, start, end))
    if start is not None:
        answer.start.FromDatetime(start)
    answer.end.FromDatetime(end or world.utc())
    return answer


def _losses(world: World, tx: Transaction, job: Job, start: datetime | None, end: datetime | None) -> list[pb.Loss]:
    """Of nodes that were taken for lost in [start, end)."""
    return [
        losses.loss(world, tx, job, one)
        for one in tx.losses.of_job(job.job_id)
        if (start is None or one.lost_utc >= start) and (end is None or one.lost_utc < end)
    ]


def _add_losses(row: pb.ReportRow, found: list[pb.Loss]) -> None:
    row.loss_count = len(found)
    row.lost_steps = sum(one.lost_steps for one in found)
    row.lost_energy_j = sum(one.lost_energy_j for one in found)
    row.lost_work.FromMilliseconds(sum(one.lost_work.ToMilliseconds() for one in found))
    row.outage.FromMilliseconds(sum(one.outage.ToMilliseconds() for one in found))


def _ahead(tx: Transaction, job: Job, start: datetime | None, end: datetime | None) -> list[StagedAhead]:
    """Copies that were staged ahead, planned in [start, end)."""
    return [
        one
        for one in tx.staged_ahead.of_job(job.job_id)
        if (start is None or one.planned_utc >= start) and (end is None or one.planned_utc < end)
    ]


def _add_ahead(row: pb.ReportRow, found: list[StagedAhead]) -> None:
    """A copy that was kept, or overtaken, or is still waited for, is neither a hit nor waste."""
    wasted = [one for one in found if one.outcome is AheadOutcome.WASTE]
    row.ahead_count, row.ahead_waste_count = len(found), len(wasted)
    row.ahead_hit_count = sum(one.outcome is AheadOutcome.HIT for one in found)
    row.ahead_wire_bytes = sum(one.wire_bytes for one in found)
    row.ahead_wasted_bytes = sum(one.wire_bytes for one in wasted)
    row.ahead_wasted_energy_j = sum(one.energy_j for one in wasted)
    row.ahead_wasted_carbon_g = sum(one.carbon_g for one in wasted)


def _grouped(intervals: Iterable[EnergyInterval], key: object) -> dict[tuple[str, str], list[EnergyInterval]]:
    assert callable(key)
    groups: dict[tuple[str, str], list[EnergyInterval]] = {}
    for interval in intervals:
        name = key(interval)
        if name is not None:
            groups.setdefault(name, []).append(interval)
    return dict(sorted(groups.items()))


def _sum(world: World, kind: str, name: str, site: str, intervals: list[EnergyInterval]) -> pb.ReportRow:
    row = pb.ReportRow(kind=kind, name=name, site=site)
    for field in _SUMS:
        setattr(row, field, sum(getattr(interval, field) for interval in intervals))
    row.facility_energy_j = sum(interval.energy_j * _pue(world, interval.site) for interval in intervals)
    row.estimated = any(interval.estimated for interval in intervals)
    span_s = sum(interval.span_s for interval in intervals)
    row.coverage_ratio = sum(interval.covered_s for interval in intervals) / span_s if span_s else 0.0
    row.sources.extend(sorted({interval.source for interval in intervals}))
    return row


def _pue(world: World, site: str) -> float:
    forecast = world.sites.get(site)
    return forecast.config.pue if forecast else 1.0


def _job_row(world: World, tx: Transaction, job: Job, intervals: list[EnergyInterval]) -> pb.ReportRow:
    row = _sum(world, "job", job.job_id, job.site, intervals)
    moves = [one for one in tx.migrations.all(job_id=job.job_id) if one.kind is MigrationKind.MOVE]
    runtime_s = sum(
        ((run.ended_utc or world.utc()) - run.started_utc).total_seconds() for run in tx.jobs.runs(job.job_id)
    )
    row.runtime.FromMilliseconds(round(runtime_s * 1000))
    row.standstill.FromMilliseconds(round(sum(one.standstill_s or 0.0 for one in moves) * 1000))
    network_s = sum(one.standstill_network_s or 0.0 for one in moves)
    row.standstill_network.FromMilliseconds(round(network_s * 1000))
    row.move_count = job.move_count
    row.wire_bytes = sum(one.wire_bytes for one in tx.migrations.all(job_id=job.job_id))
    copies = tx.jobs.copies(job.job_id)
    row.state_bytes = copies[0].checkpoint.state_bytes if copies else 0
    row.step = job.progress.step
    return row
