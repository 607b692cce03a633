"""Energy, carbon and time per job, node, site, job at a site, day, and fleet: what `heliotrope report` shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from heliotrope.foundation import wire
from heliotrope.foundation.model import MigrationKind
from heliotrope.v1 import operator_pb2 as pb

from ..managers.valuation import Valuation
from ..managers.world import World
from ..state.database import Transaction
from ..state.ledger_model import Sums
from ..state.model import AheadOutcome, Job, Migration, StagedAhead
from . import losses
from .accounts import DAY_MS, HOUR_MS, NG, UJ, Account, Shares, grouped, hourly_shares

POINTS_LIMIT = 500
_BUCKETS_MS = (1000, 10_000, 60_000, 300_000, HOUR_MS, DAY_MS, 30 * DAY_MS)
_EPOCH = datetime.fromtimestamp(0, UTC)
_FOR_EVER_MS = 1 << 62


class Books:
    """The ledger over [start, end), closed entries and open lines alike, each interval by when it begins.

    Reads sites, settings and the clock of ``world``, which stay as they are: it may run beside the state thread.
    """

    def __init__(
        self, world: World, tx: Transaction, start: datetime | None, end: datetime | None, job_id: str = ""
    ) -> None:
        self._tx = tx
        self._valuation = Valuation(world)
        self._job_id = job_id
        self.start_ms = -_FOR_EVER_MS if start is None else _ms(start)
        self.end_ms = _FOR_EVER_MS if end is None else _ms(end)
        opened = tx.open_energy.all(start_ms=self.start_ms, end_ms=self.end_ms)
        self._open = [(line, self._valuation.entry(tx, line)) for line in opened]
        self.bucket_ms = self._bucket_ms(world)
        self.sums = list(self._all())
        self.shares = self._shares()

    def _bucket_ms(self, world: World) -> int:
        """Of the points to plot: round, and not more than the limit."""
        known = self._tx.ledger.span()
        moments = [*(known or ()), *(line.start_ms for line, _ in self._open)]
        first = max(self.start_ms, min(moments, default=0))
        last = min(self.end_ms, max(moments, default=0))
        least_ms = max((last - first) / POINTS_LIMIT, world.config.ledger.interval_s * 1000)
        return next((length for length in _BUCKETS_MS if length >= least_ms), _BUCKETS_MS[-1])

    def _all(self) -> Iterator[Sums]:
        bucket_ms = min(self.bucket_ms, HOUR_MS)
        yield from self._tx.ledger.sums(bucket_ms, self.start_ms, self.end_ms, self._job_id)
        for line, entry in self._open:
            if self._job_id in ("", line.job_id):
                yield Sums(
                    bucket_ms=line.start_ms // bucket_ms * bucket_ms,
                    site=line.site,
                    node_id=line.node_id,
                    job_id=line.job_id,
                    source=line.source,
                    estimated=line.estimated,
                    metered=entry.metered,
                    pue_ppm=entry.pue_ppm,
                    energy_uj=line.energy_uj,
                    covered_us=line.covered_us,
                    span_us=line.span_us,
                    reserved_us=line.reserved_us,
                    carbon_ng=entry.carbon_ng or 0,
                    carbon_static_ng=entry.carbon_static_ng or 0,
                    renewable_uj=entry.renewable_uj or 0,
                    embodied_ng=entry.embodied_ng or 0,
                    unknown_carbon_uj=line.energy_uj if entry.carbon_ng is None else 0,
                    unknown_static_uj=line.energy_uj if entry.carbon_static_ng is None else 0,
                    unknown_renewable_uj=line.energy_uj if entry.renewable_uj is None else 0,
                    unknown_embodied_us=line.reserved_us if entry.embodied_ng is None else 0,
                    late_uj=0,
                    lost_count=0,
                    is_open=True,
                )

    def _shares(self) -> Shares:
        by_interval = self._tx.ledger.renewable_shares(self.start_ms, self.end_ms)
        for line, entry in self._open:
            if entry.renewable_ppm is not None:
                by_interval[line.site, line.start_ms] = entry.renewable_ppm
        return hourly_shares(by_interval)


def report(
    world: World,
    tx: Transaction,
    *,
    start: datetime | None,
    end: datetime | None,
    job: Job | None,
    fleet: str = "",
    points: bool = False,
) -> pb.Report:
    """Sums over the ledger intervals that begin in [start, end)."""
    books = Books(world, tx, start, end, job.job_id if job else "")
    jobs = {one.job_id: one for one in ([job] if job else tx.jobs.all())}
    answer = pb.Report(fleet=fleet)
    accounts = grouped(books.sums, lambda one: (one.job_id, "") if one.job_id in jobs else None)
    for one in jobs.values():
        row = _job_row(world, tx, one, accounts.get((one.job_id, ""), Account()), books.shares, start, end)
        found = _losses(world, tx, one, start, end)
        _add_losses(row, found)
        staged = _ahead(tx, one, start, end)
        _add_ahead(row, staged)
        answer.staged_ahead.extend(wire.to_message(item, pb.StagedAhead) for item in staged)
        answer.rows.append(row)
        answer.losses.extend(found)
    by_site = grouped(books.sums, lambda one: (one.job_id, one.site) if one.job_id in jobs else None)
    answer.rows.extend(_rows("job_site", by_site, books.shares))
    if job is None:
        answer.rows.extend(_rows("node", grouped(books.sums, lambda one: (one.node_id, one.site)), books.shares))
        answer.rows.extend(_rows("site", grouped(books.sums, lambda one: (one.site, one.site)), books.shares))
    answer.rows.extend(_rows("day", grouped(books.sums, lambda one: (_day(one.bucket_ms), "")), books.shares))
    if job is None:
        answer.rows.extend(_rows("fleet", grouped(books.sums, lambda _: (fleet, "")), books.shares))
    if start is not None:
        answer.start.FromDatetime(start)
    answer.end.FromDatetime(end or world.utc())
    if points:
        answer.point_length.FromMilliseconds(books.bucket_ms)
        answer.points.extend(_points(books))
    return answer


def _rows(kind: str, accounts: dict[tuple[str, str], Account], shares: Shares) -> list[pb.ReportRow]:
    return [account.row(kind, name, site, shares) for (name, site), account in accounts.items()]


def _points(books: Books) -> Iterator[pb.ReportPoint]:
    totals: defaultdict[tuple[int, str], defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    names = ("energy_uj", "renewable_uj", "unknown_renewable_uj", "carbon_ng", "unknown_carbon_uj", "embodied_ng")
    for one in books.sums:
        total = totals[one.bucket_ms // books.bucket_ms * books.bucket_ms, one.site]
        for name in (*names, "covered_us", "span_us"):
            total[name] += getattr(one, name)
    for (start_ms, site), total in sorted(totals.items()):
        point = pb.ReportPoint(
            site=site,
            energy_j=total["energy_uj"] / UJ,
            renewable_energy_j=total["renewable_uj"] / UJ,
            unknown_renewable_energy_j=total["unknown_renewable_uj"] / UJ,
            carbon_g=total["carbon_ng"] / NG,
            unknown_energy_j=total["unknown_carbon_uj"] / UJ,
            embodied_g=total["embodied_ng"] / NG,
            covered_ratio=total["covered_us"] / total["span_us"] if total["span_us"] else 0.0,
        )
        point.start.FromMilliseconds(start_ms)
        yield point


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


def _job_row(
    world: World,
    tx: Transaction,
    job: Job,
    account: Account,
    shares: Shares,
    start: datetime | None,
    end: datetime | None,
) -> pb.ReportRow:
    row = account.row("job", job.job_id, job.site, shares)
    until = min(end, world.utc()) if end is not None else world.utc()
    since = start or _EPOCH
    runs = tx.jobs.runs(job.job_id)
    runtime = sum((_overlap(one.started_utc, one.ended_utc or until, since, until) for one in runs), timedelta())
    migrations = [one for one in tx.migrations.all(job_id=job.job_id) if _begun_in(one, start, end)]
    moves = [one for one in migrations if one.kind is MigrationKind.MOVE]
    row.runtime.FromTimedelta(runtime)
    row.standstill.FromMilliseconds(round(sum(one.standstill_s or 0.0 for one in moves) * 1000))
    network_s = sum(one.standstill_network_s or 0.0 for one in moves)
    row.standstill_network.FromMilliseconds(round(network_s * 1000))
    row.move_count = job.move_count
    row.wire_bytes = sum(one.wire_bytes for one in migrations)
    copies = tx.jobs.copies(job.job_id)
    row.state_bytes = copies[0].checkpoint.state_bytes if copies else 0
    row.step = job.progress.step
    ended = job.ended_utc or until
    is_whole = since <= job.submitted_utc and ended <= until
    _set_work(row, job, account.facility_j if is_whole else 0.0)
    return row


def _begun_in(migration: Migration, start: datetime | None, end: datetime | None) -> bool:
    begun = migration.steps[0].entered_utc if migration.steps else None
    return begun is None or ((start is None or begun >= start) and (end is None or begun < end))


def _set_work(row: pb.ReportRow, job: Job, facility_j: float) -> None:
    """What the job reported; per joule only where the energy is that of all its life, failed and repeated work too."""
    progress = job.progress
    if progress.reported_utc is None:
        return
    for name in ("parameters", "samples", "tokens", "flops"):
        if getattr(progress, name):
            setattr(row, name, getattr(progress, name))
    if facility_j <= 0:
        return
    rates = {"steps_per_j": progress.step, "samples_per_j": progress.samples, "tokens_per_j": progress.tokens}
    for name, work in {**rates, "flop_per_j": progress.flops}.items():
        if work:
            setattr(row, name, work / facility_j)


def _overlap(begin: datetime, finish: datetime, since: datetime, until: datetime) -> timedelta:
    return max(min(finish, until) - max(begin, since), timedelta())


def _day(bucket_ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=bucket_ms)).strftime("%Y-%m-%d")


def _ms(utc: datetime) -> int:
    return round((utc - _EPOCH).total_seconds() * 1000)
